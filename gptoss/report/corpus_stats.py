"""What the text is like: languages, licences, distributions before and after curation, clusters of duplicates, and
what was cut out of documents that stay.

The stages that measure these leave them beside their tables; what is not there was not measured.
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

MOST = 20
"""Languages or licences of a source that are named; the others are counted together."""
EXAMPLES = 10
"""Repeated lines and passages shown of each table."""
EXCERPT = 200
OTHERS = "others"


def languages(met: Mapping[Key, Amount], clean: Mapping[Key, Amount] | None, source: str) -> list[dict[str, Any]]:
    """By measured language: documents and bytes that curation met, and those that are clean. Keys are (source,
    language)."""
    kept = clean or {}
    named = _largest({key[1]: amount for key, amount in met.items() if key[0] == source})
    rows = []
    for name, amount in named.items():
        left = [one for (of, language), one in kept.items() if of == source and _named(language, named) == name]
        rows.append({"name": name, **amount, "clean": None if clean is None else counts.total(left)})
    return rows


def licenses(clean: Mapping[Key, Amount], source: str) -> list[dict[str, Any]]:
    """Clean documents and bytes by licence. Keys are (source, licence)."""
    named = _largest({key[1]: amount for key, amount in clean.items() if key[0] == source})
    return [{"name": name, **amount} for name, amount in named.items()]


def _named(name: str, named: Mapping[str, Amount]) -> str:
    return name if name in named else OTHERS


def _largest(amounts: dict[str, Amount]) -> dict[str, Amount]:
    """The largest first, those beyond `MOST` as one."""
    order = sorted(amounts, key=lambda name: (-amounts[name]["documents"], name))
    named = {name: amounts[name] for name in order[:MOST]}
    if rest := order[MOST:]:
        named[OTHERS] = counts.total(amounts[name] for name in rest)
    return named


def distributions(source: str) -> dict[str, dict[str, list[float]]]:
    """Histograms `{measure: {edges, in, kept}}` of the documents that came into curation and of those kept."""
    path = paths.curated(source) / "distributions.json"
    return dict(read_json(path)) if path.exists() else {}


def clusters(dedup: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Clusters of duplicates by size, from the metrics of dedup: names such as `size_02` and `size_10_or_more`."""
    found = []
    for name, number in dedup.get("clusters", {}).items():
        digits = re.search(r"\d+", name)
        if digits:
            found.append({"size": int(digits[0]), "or_more": "more" in name, "clusters": number})
    return sorted(found, key=lambda one: int(one["size"]))


def cut(path: Path, text: str, places: str, measured: Mapping[str, float]) -> dict[str, Any] | None:
    """What was cut out of documents that stay: `measured` says how much, the table at `path` holds what stood in most
    `places`, in the column `text`. None when nothing was cut or looked for."""
    if not path.exists() or not pq.read_metadata(path).num_rows:
        return None
    best: list[tuple[int, str]] = []
    for batch in pq.ParquetFile(path).iter_batches(batch_size=4_096, columns=[text, places]):
        best += zip(batch[places].to_pylist(), batch[text].to_pylist(), strict=True)
        best = sorted(best, key=lambda one: (-one[0], one[1]))[:EXAMPLES]
    return {
        "measured": dict(measured),
        "examples": [{"text": _short(words), "copies": number} for number, words in best],
    }


def _short(text: str) -> str:
    shown = " ".join(text[: EXCERPT + 1].split())
    return shown if len(text) <= EXCERPT else f"{shown[:EXCERPT]} …"
