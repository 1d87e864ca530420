"""Statistics of the text: languages, licences, distributions before and after curation, clusters of duplicates, and
what was cut out of kept documents.

The stages that measure these write them beside their tables; what is missing was not measured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.report import counts
from gptoss.report.counts import Amount, Key

# Languages or licences per source that are named; a web crawl has hundreds, so the others are counted together.
MAX_NAMED = 20
# Repeated lines and passages shown per table.
EXAMPLES = 10
# Characters shown of a repeated line or passage.
EXCERPT = 200
OTHERS = "others"


def languages(measured: Mapping[Key, Amount], clean: Mapping[Key, Amount] | None, source: str) -> list[dict[str, Any]]:
    """By measured language: documents and bytes that came into curation, and those that are clean. Keys are (source,
    language)."""
    kept = clean or {}
    named = _largest({key[1]: amount for key, amount in measured.items() if key[0] == source})
    rows = []
    for name, amount in named.items():
        left = [
            clean_amount
            for (of, language), clean_amount in kept.items()
            if of == source and (language if language in named else OTHERS) == name
        ]
        rows.append({"name": name, **amount, "clean": None if clean is None else counts.total(left)})
    return rows


def licenses(clean: Mapping[Key, Amount], source: str) -> list[dict[str, Any]]:
    """Clean documents and bytes by licence. Keys are (source, licence)."""
    named = _largest({key[1]: amount for key, amount in clean.items() if key[0] == source})
    return [{"name": name, **amount} for name, amount in named.items()]


def _largest(amounts: dict[str, Amount]) -> dict[str, Amount]:
    """The largest first, those beyond `MAX_NAMED` added up as `OTHERS`."""
    # By name among equals, so that the choice does not depend on the order of the tables.
    order = sorted(amounts, key=lambda name: (-amounts[name]["documents"], name))
    named = {name: amounts[name] for name in order[:MAX_NAMED]}
    if rest := order[MAX_NAMED:]:
        named[OTHERS] = counts.total(amounts[name] for name in rest)
    return named


def distributions(source: str) -> dict[str, dict[str, list[float]]]:
    """Histograms `{measure: {edges, in, kept}}` of the documents that came into curation and of those it kept."""
    path = paths.curated(source) / "distributions.json"
    return dict(read_json(path)) if path.exists() else {}


def clusters(dedup: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Clusters of duplicates by size, from the metrics of dedup: names such as `size_02` and `size_10_or_more`."""
    found = []
    for name, number in dedup.get("clusters", {}).items():
        # Only names with a number are sizes; the section also holds totals.
        digits = re.search(r"\d+", name)
        if digits:
            found.append({"size": int(digits[0]), "or_more": "more" in name, "clusters": number})
    return sorted(found, key=lambda entry: int(entry["size"]))


def cut_text(path: Path, text: str, number: str, measured: Mapping[str, float]) -> dict[str, Any] | None:
    """The most frequent repeated texts that were cut out of kept documents: `measured` says how much was cut; the table
    at `path` has the texts in the column `text` and how often each occurred in `number`. None when nothing was cut or
    looked for."""
    if not path.exists() or not pq.read_metadata(path).num_rows:
        return None
    best: list[tuple[int, str]] = []
    # In batches with the best kept so far: the table of a crawl has millions of lines, a page shows ten.
    for batch in pq.ParquetFile(path).iter_batches(batch_size=4_096, columns=[text, number]):
        best += zip(batch[number].to_pylist(), batch[text].to_pylist(), strict=True)
        # Ties in the order of the text, so that the facts do not depend on the order of the table.
        best = sorted(best, key=lambda entry: (-entry[0], entry[1]))[:EXAMPLES]
    return {
        "measured": dict(measured),
        "examples": [{"text": _short(words), "copies": copies} for copies, words in best],
    }


def _short(text: str) -> str:
    # White space is collapsed after the cut, so that a page never depends on a megabyte of blanks.
    shown = " ".join(text[: EXCERPT + 1].split())
    return shown if len(text) <= EXCERPT else f"{shown[:EXCERPT]} …"
