"""Removed documents: amounts per reason, and samples; duplicates together with the document that was kept."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gptoss.core import paths
from gptoss.report import counts
from gptoss.report.counts import Amount, Key
from gptoss.tables.documents import document_files, removed_files

# Documents per reason in the facts; the report shows the first three of them.
SAMPLES = 10
# Characters of a document shown.
EXCERPT = 320
# Characters of common text shown before the first difference of two near-duplicates.
LEAD = 80
KEYS = ["reason", "source", "language"]


def collect(stage: str, folders: list[Path]) -> tuple[list[dict[str, Any]], dict[Key, Amount]]:
    """One group per reason, with the amount of each source and `SAMPLES` documents; and the amounts by `KEYS`."""
    files = [path for folder in folders for path in removed_files(folder)]
    sums, chosen = counts.count_removed(files, KEYS, SAMPLES)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    # One pass for all reasons: reading texts is the expensive part.
    for row in counts.read_rows(files, (identity for ids in chosen.values() for identity in ids)):
        rows.setdefault((row["reason"] or "", row["id"]), row)
    # All at once, for the same reason.
    kept = kept_documents(row["duplicate_of"] for row in rows.values() if row["duplicate_of"])
    groups = [
        {
            "stage": stage,
            "reason": reason,
            "sources": of_reason,
            **counts.total(of_reason.values()),
            "samples": [describe(rows[reason, identity], kept) for identity in chosen[reason]],
        }
        for reason in sorted(chosen)
        for of_reason in [_sources(sums, reason)]
    ]
    return groups, sums


def _sources(sums: dict[Key, Amount], reason: str) -> dict[str, Amount]:
    found = counts.group_by(sums, 0, 1)
    return {source: found[at, source] for at, source in sorted(found) if at == reason}


def kept_documents(ids: Any) -> dict[str, dict[str, Any]]:
    """The documents with these ids in the deduplicated text. Those kept by earlier incremental runs are not in it."""
    found: dict[str, dict[str, Any]] = {}
    for row in counts.read_rows(document_files(paths.DEDUPED), ids):
        found.setdefault(row["id"], row)
    return found


def describe(row: dict[str, Any], kept: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The part of a removed document that is shown, with the kept document that it duplicates."""
    shown = {key: row.get(key) or "" for key in ("id", "source", "title", "url", "detail")}
    jaccard = row.get("jaccard")
    shown |= {"duplicate_of": row.get("duplicate_of") or "", "jaccard": _rounded(jaccard)}
    twin = kept.get(shown["duplicate_of"])
    if twin is None:
        return shown | {"excerpt": excerpt_at_quote(row["text"], shown["detail"]), "twin": None}
    # Both excerpts begin at the same place shortly before the first difference, which a reader could not find in books.
    start = _first_difference(row["text"], twin["text"])
    removed, kept_runs = trim_ends(*diff_words(_excerpt(row["text"], start), _excerpt(twin["text"], start)))
    return shown | {
        "excerpt": removed,
        "twin": {
            "id": twin["id"],
            "title": twin["title"] or "",
            "source": twin["source"] or "",
            "excerpt": kept_runs,
            "jaccard": _rounded(jaccard),
        },
    }


def _rounded(jaccard: float | None) -> float | None:
    return None if jaccard is None else round(float(jaccard), 3)


def excerpt_at_quote(text: str, detail: str) -> list[list[Any]]:
    """The beginning of a document, or the passage around the words that the detail quotes, with those words marked."""
    quoted = re.search("“(.+?)”", detail)
    words = [re.escape(word) for word in quoted[1].split()] if quoted else []
    # The quoted words are normalised, so anything but letters and digits may stand between them in the document.
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


def _excerpt(text: str, start: int) -> str:
    """About `EXCERPT` characters from `start`, with an ellipsis where text was left out."""
    end = start + EXCERPT
    shown = " ".join(text[start:end].split())
    if end < len(text):
        # Cut at a word; a text without blanks, such as Chinese, is cut anywhere.
        shown = (shown.rpartition(" ")[0] or shown) + " …"
    return f"… {shown}" if start else shown


def _first_difference(one: str, other: str) -> int:
    """Where an excerpt must begin to show the first difference; 0 for equal texts."""
    if one == other:
        return 0
    low, high = 0, min(len(one), len(other))
    while low < high:  # bisection: comparing prefixes runs in C, a loop over the characters of a book does not
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    # A little common text first, so that a reader sees where in the document the difference is.
    start = max(0, low - LEAD)
    space = one.find(" ", start) + 1 if start else 0  # begin with a whole word
    return space if start < space <= low else start


def diff_words(one: str, other: str) -> tuple[list[list[Any]], list[list[Any]]]:
    """Both texts as runs `[text, differs]`, compared word by word. `autojunk` would ignore frequent words."""
    left, right = one.split(" "), other.split(" ")
    runs: tuple[list[list[Any]], list[list[Any]]] = ([], [])
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        for side, part in zip(runs, (left[i1:i2], right[j1:j2]), strict=True):
            if part:
                side.append([" ".join(part), tag != "equal"])
    return runs


def trim_ends(one: list[list[Any]], other: list[list[Any]]) -> tuple[list[list[Any]], list[list[Any]]]:
    """Both excerpts without the last words that only one of them shows because it was cut a little later."""
    left, right = list(one), list(other)
    # Only where both were cut: otherwise the last words are a real difference.
    if left[-1:] == right[-1:] == [["…", False]]:
        for side, opposite in ((left, right), (right, left)):
            if len(side) > 1 and side[-2][1] and not (len(opposite) > 1 and opposite[-2][1]):
                del side[-2]
                break
    return left, right
