"""Rows of the report's tables: columns and cells, the same for HTML and Markdown.

`templates/html.jinja` describes columns ("#Name" holds numbers) and cells (a text, or [text, note]).
"""

from __future__ import annotations

from typing import Any

from gptoss.core import paths
from gptoss.core.formatting import count, significant, size
from gptoss.report.run_history import RunHistory

STAGES = ("ingested", "curated", "deduped", "clean")
REMOVERS = {"curate": "curation", "dedup": "deduplication", "decontaminate": "decontamination"}

# Removed documents shown per reason; the facts hold ten, which the data page shows.
SAMPLES = 3

Cells = list[Any]


def funnel(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per source and one for all: raw files, then documents and bytes after each stage."""
    sources = facts["corpus"]["sources"]
    rows = [{"name": name, **{stage: source[stage] for stage in ("raw", *STAGES)}} for name, source in sources.items()]
    if len(rows) > 1:
        rows.append({"name": "all", **{stage: _total([row[stage] for row in rows]) for stage in ("raw", *STAGES)}})
    for row in rows:
        # A fraction of the ingested text: raw files contain markup, so a fraction of their bytes would mean nothing.
        clean, ingested = row["clean"], row["ingested"]
        row["kept"] = clean["bytes"] / ingested["bytes"] if clean and ingested and ingested["bytes"] else None
    return rows


def _total(amounts: list[dict[str, int] | None]) -> dict[str, int] | None:
    # Sources that have not reached a step are left out of its total.
    known = [amount for amount in amounts if amount]
    return {key: sum(amount[key] for amount in known) for key in known[0]} if known else None


def amount(entry: dict[str, int] | None, unit: str = "documents") -> str | Cells:
    """A cell with a number of documents or files, and their bytes."""
    return [count(entry[unit]), size(entry["bytes"])] if entry else "–"


def removal_reasons(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The groups of removed documents in pipeline order, the most frequent reason of each stage first."""
    order = list(REMOVERS)
    return sorted(
        ({**group, "by": REMOVERS[group["stage"]]} for group in facts["corpus"]["removed"]),
        key=lambda group: (order.index(group["stage"]), -group["documents"], group["reason"]),
    )


def by_source(group: dict[str, Any]) -> str:
    """Documents of each source in a group of removed documents."""
    return ", ".join(f"{source} {count(part['documents'])}" for source, part in group["sources"].items())


def rejected_examples(group: dict[str, Any]) -> str:
    """Where the first rejected raw records of a reason are, with details."""
    # The locator is the place in the file, such as a page; some formats have none.
    places = ((sample["locator"] or sample["origin"], sample["detail"]) for sample in group["samples"])
    return "; ".join(f"{place}: {detail}" if detail else place for place, detail in places)


def excerpt_text(runs: list[list[Any]]) -> str:
    """The text of an excerpt without the marks of differences."""
    return " ".join(text for text, _ in runs)


def bytes_per_token(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Documents, bytes and tokens of each source's training text, and of each split."""
    splits = facts["tokenizer"]["splits"]
    rows = [{"name": name, **entry} for name, entry in sorted((splits.get("train", {}).get("sources") or {}).items())]
    titles = {"train": "all training text", "validation": "held-out text"}
    rows += [{"name": titles.get(split, split), **entry} for split, entry in sorted(splits.items())]
    for row in rows:
        row["ratio"] = row["bytes"] / row["tokens"] if row.get("bytes") and row.get("tokens") else None
    return rows


def ending(sample: dict[str, Any], facts: dict[str, Any]) -> str:
    """How generation ended; empty when that was not recorded."""
    if sample["stopped"] is None:
        return ""
    limit = count(facts["recipe"]["max_new_tokens"])
    return "stopped by itself" if sample["stopped"] else f"cut off at {limit} tokens"


def cost(history: RunHistory) -> list[dict[str, Any]]:
    """One row per stage with a run: wall time and its share of the longest, speed and peak memory."""
    timed = [(stage, stage.run) for stage in history.stages if stage.run]
    # 1 where nothing was timed: bars are divided by it.
    longest = max((run.seconds for _, run in timed), default=0.0) or 1.0
    return [
        {
            "stage": stage.name,
            "seconds": run.seconds,
            "bar": run.seconds / longest,
            "speed": _speed(run.metrics),
            "memory": _memory(run.metrics),
            "cluster": run.tags.get("gptoss.cluster", ""),
        }
        for stage, run in timed
    ]


def _speed(metrics: dict[str, float]) -> str:
    """The speed that a stage logged: tokens before bytes before anything else per second, whatever the prefix."""
    for ending_, shown in (("tokens_per_second", count), ("bytes_per_second", size)):
        for name, value in sorted(metrics.items()):
            if name.endswith(ending_):
                return f"{shown(value)}{' tokens' if shown is count else ''}/s"
    for name, value in sorted(metrics.items()):
        if name.endswith("_per_second"):
            unit = name.rsplit(".", 1)[-1].removesuffix("_per_second").replace("_", " ")
            return f"{significant(value)} {unit}/s"
    return ""


def _memory(metrics: dict[str, float]) -> str:
    if "peak_memory_bytes" in metrics:
        return size(metrics["peak_memory_bytes"])
    return f"{size(metrics['memory_mib'] * 2**20)} per rank" if "memory_mib" in metrics else ""


def gates(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Each published variant, and the gates that it passed."""
    published = {
        stage.partition("@")[2]: values.get("gates")
        for stage, values in facts["metrics"].items()
        if stage.startswith("publish@")
    }
    return [
        (variant, f": {len(passed)} gates passed ({', '.join(sorted(passed)).replace('_', ' ')})" if passed else "")
        for variant, passed in published.items()
    ]


def folder(facts: dict[str, Any], variant: str) -> str:
    """The published folder of a variant."""
    return str(paths.published(facts["name"], variant))


def commands(facts: dict[str, Any], history: RunHistory) -> list[tuple[str, str]]:
    """The commands that reproduce the run and verify it, each with a remark."""
    remark = "the run had uncommitted changes besides" if history.dirty else ""
    # Without git (an unpacked archive) there is no commit to check out.
    checkout = [(f"git checkout {history.commit}", remark)] if history.commit != "unknown" else []
    return [
        *checkout,
        ("make run", "set up, then every stage that is out of date"),
        ("make verify", "recompute every hash from the registry back to the raw files"),
        (f"cd {folder(facts, 'base')} && sha256sum -c checksums.sha256", "the published files"),
    ]
