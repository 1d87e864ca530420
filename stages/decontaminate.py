"""Take the benchmark items out of the training text.

In: `data/deduped` and `data/benchmarks/texts.parquet` (`suite`, `task`, `item`, `text` of every evaluated item). Out:
`data/clean`: the documents, `removed.parquet`, and `contamination.json`, the items that were found and in how many
documents, so that evaluation can score the untouched items by themselves. Wrong: missing benchmark texts.

Method: n-gram overlap as for GPT-3 (Brown et al. 2020, appendix C). With `ngrams: [13, 8]` an item of 13 words or more
is found by a shared run of 13 words, an item of 8 to 12 words by a run of 8; shorter items cannot be told from common
speech and are counted as not checked. A run that occurs in more than `COMMON` documents is a common phrase or
boilerplate and is ignored, also in what counts as found. What happens to a document that holds an item is `policy`:
`drop` removes it, `mark` keeps it and names the items in its `meta`, `trim` cuts out the sentences that hold the run.
Words are those of `stages/dedup/words.py`; hashes only suggest matches, each is confirmed on the words themselves.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages import paths
from stages.batches import bounded_batches, document_writer, removed_rows, removed_writer
from stages.dedup.overlap import Benchmark, load_benchmark
from stages.dedup.words import find_words
from stages.entry import Metrics, run_stage
from stages.progress import progress
from stages.settings import Settings
from stages.storage import atomic_folder, write_json
from stages.tracking import StageRun

COMMON = 10
"""An n-gram in more documents than this is ignored (Brown et al. 2020, appendix C)."""
SENTENCE_REACH = 200
"""Characters to each side of a match within which `trim` looks for the ends of its sentence; GPT-3 cut them all."""
MIN_PIECE = 200
"""`trim` drops pieces of a cut document that are shorter than this (characters), as GPT-3 did."""
MAX_PIECES = 10
"""`trim` removes a document that falls into more pieces than this, as GPT-3 did."""

_SPACE = re.compile(r"\s+")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s+|\n\s*\n")


def decontaminate(settings: Settings, run: StageRun) -> Metrics:
    """Run the stage; returns items, items touched, and documents removed, trimmed or marked by source."""
    benchmark = load_benchmark(paths.BENCHMARKS / "texts.parquet", settings.decontaminate.ngrams)
    found = search(benchmark)
    tally: Counter[str] = Counter()
    with (
        atomic_folder(paths.CLEAN) as folder,
        document_writer(folder) as kept,
        removed_writer(folder) as removed,
    ):
        for position, batch in documents("writing"):
            treated, gone = treat(batch, position, found, benchmark, settings.decontaminate.policy)
            kept.write(treated)
            removed.write(gone)
            tally.update(count(batch, treated, gone))
            tally["contaminated"] += len(found.contaminated.intersection(range(position, position + batch.num_rows)))
        write_json(folder / "contamination.json", contamination(benchmark, found))
    return summary(benchmark, found, tally, settings.decontaminate.policy)


@dataclass(frozen=True)
class Found:
    """What the training text holds of the benchmark."""

    common: dict[bytes, list[int]]
    """Each n-gram that is ignored with the items that hold it."""
    touched: dict[int, set[int]]
    """Each item that was found with the positions of the documents that hold it."""
    contaminated: set[int]
    """Positions of all these documents."""


def documents(purpose: str) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches of `data/deduped`, each with the position of its first document."""
    position = 0
    for batch in progress(bounded_batches(paths.DEDUPED), f"decontaminate: {purpose}", unit="batches"):
        yield position, batch
        position += batch.num_rows


def search(benchmark: Benchmark) -> Found:
    """Look for every item in every document. Of an n-gram, at most `COMMON` + 1 documents are remembered."""
    holders: dict[bytes, list[int]] = {}
    items_of: dict[bytes, list[int]] = {}
    for position, batch in documents("searching"):
        for text, _, _, gram, items in benchmark.matches(batch.column("text")):
            held_by = holders.setdefault(gram, [])
            items_of[gram] = items
            if position + text not in held_by[-1:] and len(held_by) <= COMMON:
                held_by.append(position + text)
    counting = {gram: held_by for gram, held_by in holders.items() if len(held_by) <= COMMON}
    touched: dict[int, set[int]] = {}
    for gram, held_by in counting.items():
        for item in items_of[gram]:
            touched.setdefault(item, set()).update(held_by)
    common = {gram: items_of[gram] for gram in holders.keys() - counting.keys()}
    return Found(common, touched, set().union(*counting.values()))


def treat(
    batch: pa.RecordBatch, position: int, found: Found, benchmark: Benchmark, policy: str
) -> tuple[pa.RecordBatch | pa.Table, pa.RecordBatch]:
    """Apply the policy to a batch: the documents kept, some of them changed, and the rows removed."""
    hit = [row for row in range(batch.num_rows) if position + row in found.contaminated]
    kept, removed, details = {}, [], []
    for row in hit:
        document = batch.slice(row, 1).to_pylist()[0]
        evidence = _evidence(document["text"], found, benchmark)
        treated = None if policy == "drop" else _changed(document, evidence, found, benchmark, policy)
        if treated is None:
            removed.append(row)
            details.append(_detail(evidence, benchmark))
        else:
            kept[row] = treated
    rows = [row for row in range(batch.num_rows) if row not in set(removed)]
    gone = batch.take(pa.array(removed, pa.int64()))
    reason = pa.array(["contaminated"] * len(removed), pa.string())
    left = _replaced(batch, kept).take(pa.array(rows, pa.int64()))
    return left, removed_rows(gone, reason, pa.array(details, pa.string()))


Evidence = list[tuple[int, int, bytes, list[int]]]
"""(first word, size, n-gram, items) of each match in one document."""


def _evidence(text: str, found: Found, benchmark: Benchmark) -> Evidence:
    matches = benchmark.matches(pa.array([text], pa.large_string()))
    return [(first, size, gram, items) for _, first, size, gram, items in matches if gram not in found.common]


def _detail(evidence: Evidence, benchmark: Benchmark) -> str:
    _, _, gram, items = evidence[0]
    others = len({item for _, _, _, held_by in evidence for item in held_by}) - 1
    more = f" and {others} more items" if others else ""
    return f"{benchmark.name(items[0])}: “{gram.decode()}”{more}"


def _changed(
    document: dict[str, Any], evidence: Evidence, found: Found, benchmark: Benchmark, policy: str
) -> dict[str, Any] | None:
    """The document marked or trimmed; None when trimming leaves nothing worth keeping."""
    meta = json.loads(document["meta"] or "{}")
    meta["contaminated"] = sorted({benchmark.name(item) for _, _, _, items in evidence for item in items})
    text = document["text"]
    if policy == "trim":
        # Two pieces that meet can form a match of their own, so look again.
        while evidence:
            pieces = trim(text, [(first, first + size) for first, size, _, _ in evidence])
            if not 0 < len(pieces) <= MAX_PIECES:
                return None
            text = "\n\n".join(pieces)
            evidence = _evidence(text, found, benchmark)
        meta["trimmed_characters"] = len(document["text"]) - len(text)
    return document | {"text": text, "meta": json.dumps(meta, ensure_ascii=False, sort_keys=True)}


def trim(text: str, matches: list[tuple[int, int]]) -> list[str]:
    """What is left of a text, in pieces, when the sentences that hold the words `first:last` of each match are cut."""
    encoded = text.encode()
    words = find_words(pa.array([text], pa.large_string()), lowercase=False)
    pieces, start = [], 0
    for first, last in sorted(matches):
        begin = len(encoded[: words.starts[first]].decode())
        end = len(encoded[: words.ends[last - 1]].decode())
        pieces.append(text[start : max(start, _sentence_start(text, begin))])
        start = max(start, _sentence_end(text, end))
    pieces.append(text[start:])
    return [piece.strip() for piece in pieces if len(piece.strip()) >= MIN_PIECE]


def _sentence_start(text: str, begin: int) -> int:
    reach = max(0, begin - SENTENCE_REACH)
    ends = [end.end() for end in _SENTENCE_END.finditer(text, reach, begin)]
    if ends or reach == 0:
        return ends[-1] if ends else 0
    space = _SPACE.search(text, reach, begin)  # no sentence in reach: cut between words
    return space.end() if space else reach


def _sentence_end(text: str, end: int) -> int:
    reach = min(len(text), end + SENTENCE_REACH)
    found = _SENTENCE_END.search(text, end, reach)
    if found or reach == len(text):
        return found.end() if found else reach
    spaces = list(_SPACE.finditer(text, end, reach))
    return spaces[-1].start() if spaces else reach


def _replaced(batch: pa.RecordBatch, changed: dict[int, dict[str, Any]]) -> pa.RecordBatch:
    """The batch with some rows replaced in `text` and `meta`."""
    mask = np.zeros(batch.num_rows, dtype=np.bool_)
    mask[list(changed)] = True
    for name in ("text", "meta"):
        column = batch.column(name)
        values = pa.array([changed[row][name] for row in sorted(changed)], column.type)
        place = batch.schema.get_field_index(name)
        batch = batch.set_column(place, name, pc.replace_with_mask(column, pa.array(mask), values))
    return batch


def contamination(benchmark: Benchmark, found: Found) -> dict[str, Any]:
    """`contamination.json`: the items found, and the n-grams ignored because they are common."""
    items = [
        dict(zip(("suite", "task", "item"), benchmark.items[item], strict=True)) | {"documents": len(held_by)}
        for item, held_by in found.touched.items()
    ]
    ignored = [{"ngram": gram.decode(), "items": len(items)} for gram, items in found.common.items()]
    return {
        "items": sorted(items, key=lambda item: (item["suite"], item["task"], item["item"])),
        "ignored_ngrams": sorted(ignored, key=lambda entry: str(entry["ngram"])),
        "common_above_documents": COMMON,
    }


def count(batch: pa.RecordBatch, kept: pa.RecordBatch | pa.Table, removed: pa.RecordBatch) -> Counter[str]:
    """What one batch adds to the metrics."""
    tally = Counter(f"removed.{source}" for source in removed.column("source").to_pylist())
    tally.update(documents_in=batch.num_rows, documents_kept=kept.num_rows)
    tally.update(bytes_in=_bytes(batch), bytes_kept=_bytes(kept))
    return tally


def _bytes(batch: pa.RecordBatch | pa.Table) -> int:
    return pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0


def summary(benchmark: Benchmark, found: Found, tally: Counter[str], policy: str) -> Metrics:
    """The metrics of the stage."""
    removed = tally["documents_in"] - tally["documents_kept"]
    suites = Counter(benchmark.items[item][0] for item in found.touched)
    return {
        "items": len(benchmark.items),
        "items_not_checked": benchmark.unchecked,
        "items_touched": len(found.touched),
        "items_touched_by_suite": dict(sorted(suites.items())),
        "ngrams_ignored": len(found.common),
        **{key: tally[key] for key in ("documents_in", "documents_kept", "bytes_in", "bytes_kept")},
        "documents_removed": removed,
        f"documents_{'trimmed' if policy == 'trim' else 'marked'}": tally["contaminated"] - removed,
        "removed": {key.removeprefix("removed."): tally[key] for key in sorted(tally) if key.startswith("removed.")},
    }


if __name__ == "__main__":
    run_stage(decontaminate, "decontaminate")
