"""Facts about the training text: every source from raw files to clean text, counted from the tables themselves.

The tables are counted again instead of trusting the metrics that each stage reported, and every sum is checked
(`funnel.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.report import corpus_stats, counts, funnel, removed
from gptoss.report.counts import Amount, Key
from gptoss.tables.documents import document_files

# Raw records shown per reason of rejection.
SAMPLES = 3
SPLITS = ("train", "validation")
STAGES = ("ingested", "curated", "deduped", "clean")

# Reported for each raw file.
FILE = ("url", "sha256", "bytes", "documents", "rejected", "status", "detail", "archive", "archive_sha256")

# Per table of documents, amounts by (source, language, licence); None when the table does not exist yet.
Counted = dict[str, dict[Key, Amount] | None]


def collect(settings: Settings) -> dict[str, Any]:
    """The funnel of each source, the raw files, statistics of the text, and samples of removed and rejected documents.

    Errors: `DataError` when a sum does not add up.
    """
    # Sorted, as everything in the facts: their bytes must not depend on the order of params.yaml.
    names = sorted(settings.sources)
    curated = [paths.curated(name) for name in names]
    groups, removed_by_curation = removed.collect("curate", curated)
    # From dedup on, languages are not needed: only curation measures them.
    groups += removed.collect("dedup", [paths.DEDUPED])[0] + removed.collect("decontaminate", [paths.CLEAN])[0]
    rejected = [group for name in names for group in _rejected(name)]
    tables = {name: _tables(name) for name in names}
    # From dedup on, the documents of all sources are in one table.
    shared = {"deduped": _count(paths.DEDUPED), "clean": _count(paths.CLEAN)}
    shards = _metrics("shards")
    sources = {}
    for name in names:
        counted = tables[name] | shared
        amounts = {stage: _of(counted[stage], name) for stage in STAGES}
        ingest = _ingest(name, amounts["ingested"], rejected)
        sources[name] = {
            **_described(settings, name),
            **amounts,
            "funnel": funnel.steps(name, amounts, groups, ingest, shards, settings),
            "distributions": corpus_stats.distributions(name),
            "repeated_lines": _repeated_lines(name),
            **_languages_and_licenses(name, counted, removed_by_curation),
        }
    return {
        "sources": sources,
        "files": [{"source": name, **file} for name in names for file in _files(name)],
        "removed": groups,
        "rejected": rejected,
        "clusters": corpus_stats.clusters(_metrics("dedup")),
        "passages": _repeated_passages(),
    }


def _tables(name: str) -> Counted:
    return {"ingested": _count(paths.documents(name)), "curated": _count(paths.curated(name))}


def _count(folder: Any) -> dict[Key, Amount] | None:
    files = document_files(folder)
    return counts.amounts(files, ["source", "language", "license"]) if files else None


def _of(sums: dict[Key, Amount] | None, name: str) -> Amount | None:
    return None if sums is None else counts.group_by(sums, 0).get((name,), {"documents": 0, "bytes": 0})


def _ingest(name: str, kept: Amount | None, rejected: list[dict[str, Any]]) -> funnel.Step | None:
    metrics = _metrics(f"ingest@{name}")
    # Without metrics of ingest nothing is known of the records that it passed over, so the funnel starts at curation.
    if kept is None or "documents" not in metrics:
        return None
    return funnel.ingested(metrics, [group for group in rejected if group["source"] == name], kept)


def _described(settings: Settings, name: str) -> dict[str, Any]:
    source = settings.sources[name]
    files = _files(name)
    raw = {
        "files": len(files),
        "bytes": sum(file.get("bytes") or 0 for file in files),
        # A file that could be read in part still has documents, so damaged files are counted, not left out.
        "damaged": sum(file.get("status") != "ok" for file in files),
        "rejected": sum(file.get("rejected") or 0 for file in files),
    }
    return {
        "format": source.format,
        "license": source.license,
        "language": source.language,
        "raw": raw if files else None,
    }


def _languages_and_licenses(name: str, counted: Counted, removed_by_curation: dict[Key, Amount]) -> dict[str, Any]:
    curated, clean = counted["curated"], counted["clean"]
    # Only curation measures the language of a document: of its input, so of what it kept and what it removed.
    measured = {} if curated is None else counts.group_by(curated, 0, 1)
    for (_, source, language), amount in removed_by_curation.items():
        counts.add(measured, (source, language), amount["documents"], amount["bytes"])
    return {
        "languages": corpus_stats.languages(measured, None if clean is None else counts.group_by(clean, 0, 1), name),
        "licenses": [] if clean is None else corpus_stats.licenses(counts.group_by(clean, 0, 2), name),
    }


def _repeated_lines(name: str) -> dict[str, Any] | None:
    measured = _metrics(f"curate@{name}").get("repeated_lines", {})
    table = paths.curated(name) / "repeated_lines.parquet"
    return corpus_stats.cut_text(table, "line", "documents", {key: measured.get(key, 0) for key in ("lines", "bytes")})


def _repeated_passages() -> dict[str, Any] | None:
    measured = _metrics("dedup").get("passages", {})
    amounts = {"passages": measured.get("passages_cut", 0), "bytes": measured.get("bytes_cut", 0)}
    return corpus_stats.cut_text(paths.DEDUPED / "passages.parquet", "passage", "copies", amounts)


def _metrics(stage: str) -> Mapping[str, Any]:
    path = paths.metrics(stage)
    if not path.exists():
        return {}
    values: dict[str, Any] = read_json(path)
    # The metrics of shards hold a section per split, and others that are not counts.
    return {split: values[split] for split in SPLITS if split in values} if stage == "shards" else values


def _files(name: str) -> list[dict[str, Any]]:
    listing = paths.documents(name) / "files.json"
    if not listing.exists():
        return []
    return [{key: file.get(key) for key in FILE} for file in read_json(listing)["files"]]


def _rejected(name: str) -> list[dict[str, Any]]:
    """One group per reason: raw records that could not become documents."""
    path = paths.documents(name) / "rejected.parquet"
    if not path.exists():
        return []
    groups: dict[str, dict[str, Any]] = {}
    for row in _rejections(path):
        reason = row["reason"] or ""
        group = groups.setdefault(reason, {"source": name, "reason": reason, "records": 0, "samples": []})
        group["records"] += 1
        # The first ones: the table is in the order of the files, which is the same in every run.
        if len(group["samples"]) < SAMPLES:
            group["samples"].append({key: row[key] or "" for key in ("origin", "locator", "detail")})
    return [groups[reason] for reason in sorted(groups)]


def _rejections(path: Any) -> Any:
    import pyarrow.parquet as pq

    # Batch by batch: a crawl rejects millions of records.
    for batch in pq.ParquetFile(path).iter_batches(columns=["origin", "locator", "reason", "detail"]):
        yield from batch.to_pylist()
