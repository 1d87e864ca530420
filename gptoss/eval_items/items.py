"""The frozen form of an item: for each format its columns, how a hub row becomes them, and its text.

Only what a task reads is kept, in one order and with one type a column, so that the hub, a mirror and the
packages give the same bytes for the same items. Option labels of ARC (`A`…, or `1`… in a few items) appear
in no prompt and become the position of the answer; DROP's answer records become lists of strings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gptoss.eval_items.suites import Format

Row = dict[str, Any]


@dataclass(frozen=True)
class Columns:
    """One format."""

    schema: pa.Schema
    from_hub: Callable[[Mapping[str, Any]], Row]
    """A row with the hub's columns to the frozen columns."""
    text: Callable[[Mapping[str, Any]], str]
    """What must not stand in the training text: the question with its choices or its answer."""


def table(format_: Format, rows: Sequence[Row]) -> pa.Table:
    """Frozen rows as a table with the format's schema. Raises `pyarrow.ArrowInvalid` on a wrong type."""
    return pa.Table.from_pylist(list(rows), schema=FORMATS[format_].schema)


def spread(total: int, wanted: int | None) -> list[int]:
    """`wanted` positions spread evenly over `range(total)`, ascending; all of them for None or too many.

    Benchmarks are sorted (by source, by subject, by passage), so their first items are no fair sample."""
    if wanted is None or wanted >= total:
        return list(range(total))
    return [index * total // wanted for index in range(wanted)]


def content_sha256(rows: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of frozen rows as JSON lines with sorted keys: of what they say, whatever wrote the Parquet."""
    lines = (json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def item_id(subset: str, position: int) -> str:
    """The name of an item within its task: `SUBSET/POSITION`, or the position alone where there is one subset."""
    return str(position) if subset == "default" else f"{subset}/{position}"


def _mmlu(row: Mapping[str, Any]) -> Row:
    return {
        "question": row["question"],
        "subject": row["subject"],
        "choices": list(row["choices"]),
        "answer": int(row["answer"]),
    }


def _hellaswag(row: Mapping[str, Any]) -> Row:
    return {
        "activity_label": row["activity_label"],
        "ctx_a": row["ctx_a"],
        "ctx_b": row["ctx_b"],
        "endings": list(row["endings"]),
        "label": int(row["label"]),
    }


def _arc(row: Mapping[str, Any]) -> Row:
    choices = row["choices"]
    return {
        "id": row["id"],
        "question": row["question"],
        "choices": list(choices["text"]),
        "answer": list(choices["label"]).index(row["answerKey"]),
    }


def _winogrande(row: Mapping[str, Any]) -> Row:
    return {
        "sentence": row["sentence"],
        "options": [row["option1"], row["option2"]],
        "answer": ("1", "2").index(row["answer"]),
    }


def _humaneval(row: Mapping[str, Any]) -> Row:
    return {name: row[name] for name in ("task_id", "prompt", "canonical_solution", "test", "entry_point")}


def _gsm8k(row: Mapping[str, Any]) -> Row:
    return {"question": row["question"], "answer": row["answer"]}


def _lambada(row: Mapping[str, Any]) -> Row:
    return {"text": row["text"]}


def _minimal_pair(row: Mapping[str, Any]) -> Row:
    return {name: row[name] for name in ("phenomenon", "good", "bad")}


def _drop(row: Mapping[str, Any]) -> Row:
    """The distinct answers of all annotators, each a list of spans, as lm-eval's DROP task reads them."""
    others = row["validated_answers"]
    records = [row["answer"]] + [
        {"number": number, "date": date, "spans": spans}
        for number, date, spans in zip(others["number"], others["date"], others["spans"], strict=True)
    ]
    answers = list(dict.fromkeys(_spans(record) for record in records))
    return {
        "query_id": row["query_id"],
        "passage": row["passage"],
        "question": row["question"],
        "answers": [list(answer) for answer in answers],
    }


def _spans(record: Mapping[str, Any]) -> tuple[str, ...]:
    if record["number"] != "":
        return (str(record["number"]),)
    if len(record["spans"]):
        return tuple(record["spans"])
    date = record["date"]
    return (" ".join([date["day"], date["month"], date["year"]]).strip(),)


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


STRINGS = pa.list_(pa.string())

FORMATS: dict[Format, Columns] = {
    "mmlu": Columns(
        pa.schema([("question", pa.string()), ("subject", pa.string()), ("choices", STRINGS), ("answer", pa.int64())]),
        _mmlu,
        lambda row: _lines(row["question"], *row["choices"]),
    ),
    "hellaswag": Columns(
        pa.schema(
            [
                ("activity_label", pa.string()),
                ("ctx_a", pa.string()),
                ("ctx_b", pa.string()),
                ("endings", STRINGS),
                ("label", pa.int64()),
            ]
        ),
        _hellaswag,
        lambda row: _lines(f"{row['ctx_a']} {row['ctx_b']} {row['endings'][row['label']]}", *row["endings"]),
    ),
    "arc_challenge": Columns(
        pa.schema([("id", pa.string()), ("question", pa.string()), ("choices", STRINGS), ("answer", pa.int64())]),
        _arc,
        lambda row: _lines(row["question"], *row["choices"]),
    ),
    "winogrande": Columns(
        pa.schema([("sentence", pa.string()), ("options", STRINGS), ("answer", pa.int64())]),
        _winogrande,
        lambda row: row["sentence"].replace("_", row["options"][row["answer"]]),
    ),
    "humaneval": Columns(
        pa.schema(
            [
                ("task_id", pa.string()),
                ("prompt", pa.string()),
                ("canonical_solution", pa.string()),
                ("test", pa.string()),
                ("entry_point", pa.string()),
            ]
        ),
        _humaneval,
        lambda row: row["prompt"] + row["canonical_solution"],
    ),
    "drop": Columns(
        pa.schema(
            [
                ("query_id", pa.string()),
                ("passage", pa.string()),
                ("question", pa.string()),
                ("answers", pa.list_(STRINGS)),
            ]
        ),
        _drop,
        lambda row: _lines(row["passage"], row["question"]),
    ),
    "gsm8k": Columns(
        pa.schema([("question", pa.string()), ("answer", pa.string())]),
        _gsm8k,
        lambda row: _lines(row["question"], row["answer"]),
    ),
    "lambada": Columns(pa.schema([("text", pa.string())]), _lambada, lambda row: row["text"]),
    "minimal_pairs": Columns(
        pa.schema([("phenomenon", pa.string()), ("good", pa.string()), ("bad", pa.string())]),
        _minimal_pair,
        lambda row: row["good"],
    ),
}
