"""Rows of the report's tables, ready to be set: the same for HTML and Markdown."""

from __future__ import annotations

from typing import Any

from gptoss.core import paths
from gptoss.core.formatting import count, decimal, percent, significant, size
from gptoss.eval_items.suites import suite_titles, task_infos
from gptoss.report.run_history import Observed

NGRAMS = {"unigram": "unigram", "trigram": "trigram", "fivegram": "5-gram"}
STAGES = ("ingested", "curated", "deduped", "clean")
REMOVERS = {"curate": "curation", "dedup": "deduplication", "decontaminate": "decontamination"}


SAMPLES = 3
"""Removed documents shown of each reason; the data page shows all of the facts."""


def task_name(task: str) -> str:
    """The label of a task; its plain name if no suite of this checkout has it."""
    info = task_infos().get(task)
    return info.label if info else task


def funnel(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a source and one for all: raw files, then documents and bytes after each stage."""
    sources = facts["corpus"]["sources"]
    rows = [{"name": name, **{stage: source[stage] for stage in ("raw", *STAGES)}} for name, source in sources.items()]
    if len(rows) > 1:
        rows.append({"name": "all", **{stage: _total([row[stage] for row in rows]) for stage in ("raw", *STAGES)}})
    for row in rows:
        row["kept"] = _share(row["clean"], row["ingested"])
    return rows


def _total(parts: list[dict[str, int] | None]) -> dict[str, int] | None:
    known = [part for part in parts if part]
    return {key: sum(part[key] for part in known) for key in known[0]} if known else None


def _share(part: dict[str, int] | None, whole: dict[str, int] | None) -> float | None:
    return part["bytes"] / whole["bytes"] if part and whole and whole["bytes"] else None


def removal_reasons(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a reason, in pipeline order, the most frequent first."""
    order = list(REMOVERS)
    return sorted(
        ({**group, "by": REMOVERS[group["stage"]]} for group in facts["corpus"]["removed"]),
        key=lambda group: (order.index(group["stage"]), -group["documents"], group["reason"]),
    )


def joined(runs: list[list[Any]]) -> str:
    """The text of an excerpt without the marks of where it differs."""
    return " ".join(text for text, _ in runs)


def bytes_per_token(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a source: training text and what the tokenizer makes of it."""
    splits = facts["tokenizer"]["splits"]
    rows = [{"name": name, **entry} for name, entry in sorted((splits.get("train", {}).get("sources") or {}).items())]
    rows += [{"name": {"train": "all training text", "validation": "held-out text"}.get(split, split), **entry}
             for split, entry in sorted(splits.items())]  # fmt: skip
    for row in rows:
        row["ratio"] = row["bytes"] / row["tokens"] if row.get("bytes") and row.get("tokens") else None
    return rows


def suites(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The scores, one table a suite."""
    rows = facts["evaluation"]["rows"]
    return [
        {"title": suite_titles().get(suite, suite), "suite": suite,
         "rows": [row for row in rows if row["suite"] == suite],
         "published": any(row["baseline"] for row in rows if row["suite"] == suite)}
        for suite in dict.fromkeys(row["suite"] for row in rows)
    ]  # fmt: skip


def score(row: dict[str, Any], head: str) -> str:
    """A value with its standard error, in percent where it is a share."""
    cell = row["heads"].get(head)
    if cell is None or cell["value"] is None:
        return "–"
    value, error = cell["value"], cell["stderr"]
    if 0 <= value <= 1:
        return percent(value).replace("\u00a0%", "") + ("" if error is None else f" ± {100 * error:.1f}")
    return decimal(value, 2) + ("" if error is None else f" ± {error:.2f}")


def items(row: dict[str, Any]) -> str:
    """How many items were asked, of how many there are."""
    asked = max((cell["n"] or 0 for cell in row["heads"].values()), default=0)
    return f"{count(asked)} of {count(row['items'])}" if row["items"] else count(asked)


def clean(row: dict[str, Any], head: str) -> str:
    """The score on items that were not found in the training text; empty where none were found."""
    part = row["heads"].get(head, {}).get("clean")
    asked = row["heads"].get(head, {}).get("n")
    if not part or part.get("value") is None or part.get("n") == asked:
        return ""
    return f"{percent(part['value'])} on {count(part['n'])} clean items"


def open_models(facts: dict[str, Any]) -> dict[str, Any]:
    """The published figures of other models: the tasks that have any, and one row a model with a text for each task."""
    models = facts["evaluation"]["published"]
    tasks = [task for task in task_infos() if any(task in model["figures"] for model in models)]
    rows = [
        {"model": model["model"], "cells": [_published(model["figures"].get(task)) for task in tasks]}
        for model in models
        if model["figures"]
    ]
    return {"tasks": tasks, "rows": rows}


def _published(figure: dict[str, Any] | None) -> str:
    """A figure and its shots, such as `66.6 (5)`."""
    return f"{figure['value']:g} ({figure['shots']})" if figure else ""


def remarks(facts: dict[str, Any]) -> list[str]:
    """Calibration and answer lengths, one sentence a head; empty where nothing was measured."""
    found = []
    for head in facts["evaluation"]["heads"]:
        cells = [row["heads"][head] for row in facts["evaluation"]["rows"] if head in row["heads"]]
        bins = [one for cell in cells if cell["calibration"] for one in cell["calibration"]["bins"]]
        asked = sum(one["n"] for one in bins)
        lengths = [cell["answer_tokens"] for cell in cells if cell["answer_tokens"]]
        if asked:
            gap = sum(one["n"] * (one["confidence"] - one["accuracy"]) for one in bins) / asked
            word = "more" if gap >= 0 else "less"
            found.append(
                f"{head.capitalize()}: on average {percent(abs(gap))} {word} sure of a choice than it is right."
            )
        if lengths:
            tokens = sum(one["mean"] for one in lengths) / len(lengths)
            cut = sum(one["cut"] for one in lengths)
            found.append(
                f"{head.capitalize()}: written answers have {tokens:.0f} tokens on average; {count(cut)} were cut off."
            )
    return found


def subjects(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks that have subsets, with one row a subset and the score of each head."""
    tables = []
    for row in facts["evaluation"]["rows"]:
        names = sorted({name for cell in row["heads"].values() for name in cell["subsets"] or {}})
        if names:
            cells = [[(cell["subsets"] or {}).get(name) for cell in row["heads"].values()] for name in names]
            tables.append(
                {"task": row["task"], "heads": list(row["heads"]), "rows": list(zip(names, cells, strict=True))}
            )
    return tables


def cost(observed: Observed) -> list[dict[str, Any]]:
    """One row a stage with a run: wall time, its share of the longest, speed and peak memory."""
    timed = [(stage, stage.run) for stage in observed.stages if stage.run]
    longest = max((run.seconds for _, run in timed), default=0.0) or 1.0
    return [
        {
            "stage": stage.name,
            "seconds": run.seconds,
            "bar": run.seconds / longest,
            "speed": _speed(run.metrics),
            "memory": _memory(run.metrics),
            "device": run.tags.get("gptoss.cluster", ""),
            "started": run.started,
        }
        for stage, run in timed
    ]


def _speed(metrics: dict[str, float]) -> str:
    """The rates a stage logged, under whatever prefix."""
    for name, value in sorted(metrics.items()):
        if name.endswith("tokens_per_second"):
            return f"{count(value)} tokens/s"
    for name, value in sorted(metrics.items()):
        if name.endswith("bytes_per_second"):
            return f"{size(value)}/s"
    for name, value in sorted(metrics.items()):
        if name.endswith("_per_second"):
            unit = name.rsplit(".", 1)[-1].removesuffix("_per_second").replace("_", " ")
            return f"{significant(value)} {unit}/s"
    return ""


def _memory(metrics: dict[str, float]) -> str:
    if "peak_memory_bytes" in metrics:
        return size(metrics["peak_memory_bytes"])
    return f"{size(metrics['memory_mib'] * 2**20)} a rank" if "memory_mib" in metrics else ""


def bits_per_byte(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The heads and the byte n-grams, the best first."""
    measured = {head: value for head, value in facts["evaluation"]["bits_per_byte"].items() if value}
    rows = [
        {"name": f"{head.capitalize()} model", "value": value["model"], **_of(value, ("bytes", "tokens"))}
        for head, value in measured.items()
    ]
    baselines = next(iter(measured.values()))["baselines"] if measured else {}
    rows += [
        {"name": f"Byte {NGRAMS.get(name, name)}", "value": value, "bytes": None, "tokens": None}
        for name, value in baselines.items()
    ]
    return sorted(rows, key=lambda row: float(row["value"]))


def _of(values: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: values.get(key) for key in keys}


def harnesses(facts: dict[str, Any]) -> list[str]:
    """What measured the rows, each once."""
    return list(dict.fromkeys(row["harness"] for row in facts["evaluation"]["rows"] if row["harness"]))


def gates(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What the gates of publishing said, one sentence a head."""
    published = {
        stage.partition("@")[2]: values for stage, values in facts["metrics"].items() if stage.startswith("publish@")
    }
    return [(head, _gates(values.get("gates", {}))) for head, values in published.items()]


def _gates(gates: Any) -> str:
    return f": {len(gates)} gates passed ({', '.join(sorted(gates)).replace('_', ' ')})" if gates else ""


def folder(facts: dict[str, Any], head: str) -> str:
    """The published folder of a head."""
    return str(paths.published(facts["name"], head))


def commands(facts: dict[str, Any], observed: Observed) -> list[tuple[str, str]]:
    """What to type to get the same again, and to check it."""
    remark = "the run had uncommitted changes besides" if observed.dirty else ""
    checkout = [(f"git checkout {observed.commit}", remark)] if observed.commit != "unknown" else []
    return [
        *checkout,
        ("make run", "set up, then every stage that is out of date"),
        ("make verify", "recompute every hash from the registry back to the raw files"),
        (f"cd {folder(facts, 'base')} && sha256sum -c checksums.sha256", "the published files"),
    ]
