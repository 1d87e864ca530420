"""What went in: every source from raw files to clean text, counted from the tables themselves.

Counting reads the tables instead of trusting what each stage reported of itself. Samples of removed documents
are those with the smallest ids: ids are hashes, so this is a random choice that never changes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages import paths
from stages.documents import document_files
from stages.settings import Settings
from stages.storage import read_json

SAMPLES = 3
EXCERPT = 320
"""Characters of a document shown."""
LEAD = 80
"""Characters of common text shown before two near-duplicates begin to differ."""

FILE = ("url", "sha256", "bytes", "documents", "rejected", "status", "detail", "archive", "archive_sha256")
"""What is told of a raw file."""

Sums = dict[tuple[str, ...], dict[str, int]]


def collect(settings: Settings) -> dict[str, Any]:
    """The funnel of each source, the raw files, and samples of what was removed and rejected."""
    names = sorted(settings.sources)
    folders = {
        "ingested": [paths.documents(name) for name in names],
        "curated": [paths.curated(name) for name in names],
        "deduped": [paths.DEDUPED],
        "clean": [paths.CLEAN],
    }
    counted = {stage: _count(places) for stage, places in folders.items()}
    files = [{"source": name, **file} for name in names for file in _files(name)]
    return {
        "sources": {name: _source(settings, name, counted) for name in names},
        "files": files,
        "removed": [
            *_removed("curate", folders["curated"]),
            *_removed("dedup", folders["deduped"]),
            *_removed("decontaminate", folders["clean"]),
        ],
        "rejected": [group for name in names for group in _rejected(name)],
    }


def _source(settings: Settings, name: str, counted: dict[str, Sums | None]) -> dict[str, Any]:
    source = settings.sources[name]
    files = _files(name)
    raw = {
        "files": len(files),
        "bytes": sum(file.get("bytes") or 0 for file in files),
        "damaged": sum(file.get("status") != "ok" for file in files),
        "rejected": sum(file.get("rejected") or 0 for file in files),
    }
    return {
        "format": source.format,
        "license": source.license,
        "language": source.language,
        "raw": raw if files else None,
        **{
            stage: None if sums is None else sums.get((name,), {"documents": 0, "bytes": 0})
            for stage, sums in counted.items()
        },
    }


def _files(name: str) -> list[dict[str, Any]]:
    listing = paths.documents(name) / "files.json"
    if not listing.exists():
        return []
    return [{key: file.get(key) for key in FILE} for file in read_json(listing)["files"]]


def _count(folders: list[Path]) -> Sums | None:
    """Documents and UTF-8 bytes of text by source; None when the stage made nothing yet."""
    files = [path for folder in folders for path in document_files(folder)]
    return _sum(files, ["source"]) if files else None


def _sum(files: list[Path], keys: list[str]) -> Sums:
    """Documents and bytes by key, streaming the files."""
    sums: Sums = {}
    for path in files:
        for batch in _batches(path, [*keys, "text"]):
            length = pc.cast(pc.binary_length(batch["text"]), pa.int64())
            sized = pa.table({**{key: batch[key] for key in keys}, "bytes": length})
            for row in sized.group_by(keys).aggregate([("bytes", "count"), ("bytes", "sum")]).to_pylist():
                entry = sums.setdefault(tuple(row[key] or "" for key in keys), {"documents": 0, "bytes": 0})
                entry["documents"] += row["bytes_count"]
                entry["bytes"] += row["bytes_sum"] or 0
    return sums


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    yield from pq.ParquetFile(path).iter_batches(batch_size=4_096, columns=columns)


def _removed(stage: str, folders: list[Path]) -> list[dict[str, Any]]:
    """One group a reason: how much was removed of each source, and `SAMPLES` of it."""
    files = [path for folder in folders if (path := folder / "removed.parquet").exists()]
    sums = _sum(files, ["reason", "source"])
    chosen = _smallest_ids(files)
    return [
        {
            "stage": stage,
            "reason": reason,
            "sources": {source: entry for (at, source), entry in sorted(sums.items()) if at == reason},
            "documents": sum(entry["documents"] for (at, _), entry in sums.items() if at == reason),
            "bytes": sum(entry["bytes"] for (at, _), entry in sums.items() if at == reason),
            "samples": [_sample(row) for row in _rows(files, chosen[reason])],
        }
        for reason in sorted(chosen)
    ]


def _smallest_ids(files: list[Path]) -> dict[str, list[str]]:
    chosen: dict[str, list[str]] = {}
    for path in files:
        for batch in _batches(path, ["id", "reason"]):
            for row in batch.to_pylist():
                ids = chosen.setdefault(row["reason"] or "", [])
                ids.append(row["id"])
                ids.sort()
                del ids[SAMPLES:]
    return chosen


def _rows(files: list[Path], ids: list[str]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in files:
        found |= {row["id"]: row for row in pq.read_table(path, filters=[("id", "in", ids)]).to_pylist()}
    return [found[identity] for identity in ids]


def _sample(row: dict[str, Any]) -> dict[str, Any]:
    sample = {key: row.get(key) or "" for key in ("id", "source", "title", "url", "detail")}
    twin = _document(row["duplicate_of"]) if row.get("duplicate_of") else None
    if twin is None:
        return sample | {"excerpt": around_quote(row["text"], sample["detail"]), "twin": None}
    start = _first_difference(row["text"], twin["text"])
    removed, kept = contrast(_excerpt(row["text"], start), _excerpt(twin["text"], start))
    jaccard = row.get("jaccard")
    return sample | {
        "excerpt": removed,
        "twin": {
            "id": twin["id"],
            "title": twin["title"] or "",
            "source": twin["source"] or "",
            "excerpt": kept,
            "jaccard": None if jaccard is None else round(float(jaccard), 3),
        },
    }


def around_quote(text: str, detail: str) -> list[list[Any]]:
    """The beginning of a document or, where the detail quotes words of it, the place of these words, marked."""
    quoted = re.search("“(.+?)”", detail)
    words = [re.escape(word) for word in quoted[1].split()] if quoted else []
    found = re.search(r"[\W_]+".join(words), text, re.IGNORECASE) if words else None
    if found is None:
        return [[_excerpt(text, 0), False]]
    before = text[max(0, found.start() - LEAD) : found.start()]
    if found.start() > LEAD:
        before = "… " + before.partition(" ")[2]
    runs = [
        [" ".join(before.split()), False],
        [" ".join(found[0].split()), True],
        [_excerpt(text, found.end())[2:], False],
    ]
    return [run for run in runs if run[0]]


def _document(identity: str) -> dict[str, Any] | None:
    """The kept document of this id: in the deduplicated text."""
    for path in document_files(paths.DEDUPED):
        rows: list[dict[str, Any]] = pq.read_table(path, filters=[("id", "==", identity)]).to_pylist()
        if rows:
            return rows[0]
    return None


def _excerpt(text: str, start: int) -> str:
    """About `EXCERPT` characters from `start`, with an ellipsis where text was left out."""
    end = start + EXCERPT
    shown = " ".join(text[start:end].split())
    if end < len(text):
        shown = (shown.rpartition(" ")[0] or shown) + " …"
    return f"… {shown}" if start else shown


def _first_difference(one: str, other: str) -> int:
    """Where an excerpt begins so that it shows the first difference; 0 for equal texts."""
    if one == other:
        return 0
    low, high = 0, min(len(one), len(other))
    while low < high:  # bisection: equal prefixes compare fast, documents may be long
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    start = max(0, low - LEAD)
    space = one.find(" ", start) + 1 if start else 0
    return space if start < space <= low else start


def contrast(one: str, other: str) -> tuple[list[list[Any]], list[list[Any]]]:
    """Both texts as runs `[text, differs]`, compared word by word."""
    left, right = one.split(" "), other.split(" ")
    runs: tuple[list[list[Any]], list[list[Any]]] = ([], [])
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        for side, part in zip(runs, (left[i1:i2], right[j1:j2]), strict=True):
            if part:
                side.append([" ".join(part), tag != "equal"])
    return runs


def _rejected(name: str) -> list[dict[str, Any]]:
    """One group a reason: raw records that could not become documents."""
    path = paths.documents(name) / "rejected.parquet"
    if not path.exists():
        return []
    groups: dict[str, dict[str, Any]] = {}
    for batch in _batches(path, ["origin", "locator", "reason", "detail"]):
        for row in batch.to_pylist():
            group = groups.setdefault(
                row["reason"] or "", {"source": name, "reason": row["reason"] or "", "records": 0, "samples": []}
            )
            group["records"] += 1
            if len(group["samples"]) < SAMPLES:
                group["samples"].append({key: row[key] or "" for key in ("origin", "locator", "detail")})
    return [groups[reason] for reason in sorted(groups)]
