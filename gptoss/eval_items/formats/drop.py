"""DROP (Dua et al. 2019): a passage, a question about it, and the answers of several annotators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from gptoss.eval_items.item_format import STRING, STRINGS, ItemFormat, Row, join_lines


def from_hub(row: Mapping[str, Any]) -> Row:
    """A row of EleutherAI/drop, with the distinct answers of all annotators, each a list of spans."""
    # As lm-eval's task reads them: its score is the maximum over these answers. The hub has the records of the other
    # annotators as columns of lists, the first one as a record.
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
    # An answer is a number, a list of spans or a date; the fields of the other two kinds are empty.
    if record["number"] != "":
        return (str(record["number"]),)
    if len(record["spans"]):
        return tuple(record["spans"])
    date = record["date"]
    return (" ".join([date["day"], date["month"], date["year"]]).strip(),)


FORMAT = ItemFormat(
    label="DROP",
    schema=pa.schema({"query_id": STRING, "passage": STRING, "question": STRING, "answers": pa.list_(STRINGS)}),
    from_hub=from_hub,
    # The passage is an excerpt of Wikipedia, so documents are found that have nothing of the question. That is meant:
    # whoever read the passage in training has an advantage.
    contamination_text=lambda row: join_lines(row["passage"], row["question"]),
)
