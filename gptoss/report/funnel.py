"""The funnel of a source: input of each step, what was removed and why, and what was kept. Every sum is checked.

Input, output and removals of a step are counted in three tables, so a sum that does not add up means that a stage lost
or duplicated documents. That is an error that names the stage, never a figure in the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core.errors import DataError
from gptoss.report.counts import Amount

# Steps from documents to documents: the stage, its input, its output.
STAGES = (("curate", "ingested", "curated"), ("dedup", "curated", "deduped"), ("decontaminate", "deduped", "clean"))

# `stage`, `in`, `removed` (reasons with amounts), `rewritten` (bytes by which kept documents became shorter), `kept`.
# Bytes are None for raw records, whose text is unknown before they are read.
Step = dict[str, Any]


def steps(
    name: str,
    amounts: Mapping[str, Amount | None],
    groups: Iterable[Mapping[str, Any]],
    ingest: Step | None,
    shards: Mapping[str, Any],
    settings: Settings,
) -> list[Step]:
    """The steps that ran so far. `shards` are the counts by split.

    Errors: `DataError` when a step does not add up.
    """
    groups = list(groups)
    found = [] if ingest is None else [ingest]
    for stage, before, after in STAGES:
        given, kept = amounts[before], amounts[after]
        # A step whose input or output does not exist yet is left out, and with it everything after it.
        if given is not None and kept is not None:
            removed = [
                {"reason": group["reason"], **group["sources"][name]}
                for group in groups
                if group["stage"] == stage and name in group["sources"]
            ]
            found.append(_step(stage, given, removed, kept))
    clean = amounts["clean"]
    if clean is not None and shards:
        found.append(_encoded(name, clean, shards))
    # Curation cuts repeated lines and replaces personal data; the others cut text only if configured to.
    may_rewrite = {
        "curate": True,
        "dedup": settings.dedup.substrings is not None,
        "decontaminate": settings.decontaminate.policy == "trim",
    }
    for step in found:
        check(name, step, may_rewrite.get(step["stage"], False))
    return found


def _step(stage: str, given: Amount, removed: list[dict[str, Any]], kept: Amount) -> Step:
    # The most frequent reason first, by name among equals: the bytes of the facts must not depend on the tables.
    removed = sorted(removed, key=lambda entry: (-entry["documents"], entry["reason"]))
    rewritten = given["bytes"] - kept["bytes"] - sum(entry["bytes"] for entry in removed)
    return {"stage": stage, "in": dict(given), "removed": removed, "rewritten": rewritten, "kept": dict(kept)}


def ingested(metrics: Mapping[str, Any], rejected: Iterable[Mapping[str, Any]], kept: Amount) -> Step:
    """The first step, from raw records to documents: records that are not documents (such as redirects) are passed
    over, damaged or unfit ones rejected. `metrics` are those of `ingest`, `rejected` the groups of its table."""
    passed = [
        {"reason": reason, "documents": number, "bytes": None, "kind": "passed over"}
        for reason, number in metrics.get("skipped", {}).items()
    ]
    unfit = [
        {"reason": group["reason"], "documents": group["records"], "bytes": None, "kind": "rejected"}
        for group in rejected
    ]
    removed = sorted([*passed, *unfit], key=lambda entry: (entry["kind"], -entry["documents"], entry["reason"]))
    records = metrics["documents"] + metrics["rejected"] + sum(metrics.get("skipped", {}).values())
    return {
        "stage": "ingest",
        "in": {"documents": metrics.get("records", records), "bytes": None},
        "removed": removed,
        "rewritten": 0,
        "kept": dict(kept),
    }


def _encoded(name: str, clean: Amount, shards: Mapping[str, Any]) -> Step:
    """The last step: every clean document is in exactly one split."""
    parts = {split: counts.get("sources", {}).get(name) for split, counts in sorted(shards.items())}
    found = {split: part for split, part in parts.items() if part}
    sums = {unit: sum(part[unit] for part in found.values()) for unit in ("documents", "bytes", "tokens")}
    rewritten = clean["bytes"] - sums["bytes"]
    return {"stage": "shards", "in": dict(clean), "removed": [], "rewritten": rewritten, "kept": sums, "splits": found}


def check(name: str, step: Step, may_rewrite: bool) -> None:
    """Errors: `DataError`, naming the stage, when a step does not add up.

    Only steps that `may_rewrite` may change the bytes of the documents they keep, and only `curate` may lengthen them:
    its replacement for an address may be longer than the address.
    """
    stage = step["stage"]
    removed = sum(entry["documents"] for entry in step["removed"])
    given, kept = step["in"]["documents"], step["kept"]["documents"]
    problem = ""
    # Documents first: when they do not add up, bytes cannot.
    if given != kept + removed:
        problem = f"{given:,} documents in, but {kept:,} kept + {removed:,} removed = {kept + removed:,}"
    elif step["in"]["bytes"] is not None and step["rewritten"] and not may_rewrite:
        size = sum(entry["bytes"] for entry in step["removed"])
        whole = step["kept"]["bytes"] + size
        problem = f"{step['in']['bytes']:,} bytes in, but {step['kept']['bytes']:,} kept + {size:,} removed = {whole:,}"
    elif step["rewritten"] < 0 and stage != "curate":
        problem = f"the documents that it kept grew by {-step['rewritten']:,} bytes"
    if problem:
        # The command reruns the stage on the inputs that are there now; everything after it follows.
        target = f"{stage}@{name}" if stage in ("ingest", "curate") else stage
        raise DataError(
            f"{stage} does not add up for {name}: {problem}",
            f"its tables are of different runs or damaged: `dvc repro --force {target}`, then `dvc repro`",
        )
