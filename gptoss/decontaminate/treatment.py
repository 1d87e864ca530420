"""What happens to a document that holds a benchmark item: it is dropped, trimmed or marked."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gptoss.core.atomic_files import read_json
from gptoss.decontaminate.benchmark_index import benchmark
from gptoss.decontaminate.benchmark_ngrams import Benchmark
from gptoss.decontaminate.search import MATCHES
from gptoss.executor.tasks import Result
from gptoss.tables.batches import kept_and_removed, part_batches, removed_rows
from gptoss.text.normalize import find_words
from gptoss.text.spans import with_changes

SENTENCE_REACH = 200
"""Characters to each side of a match within which `trim` looks for the ends of its sentence; GPT-3 cut them all."""
MIN_PIECE = 200
"""`trim` drops pieces of a cut document that are shorter than this (characters), as GPT-3 did."""
MAX_PIECES = 10
"""`trim` removes a document that falls into more pieces than this, as GPT-3 did."""

_SPACE = re.compile(r"\s+")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s+|\n\s*\n")


def treat(
    part: str, matches: str, common: str, policy: str, kept: str, removed: str, index: str, sha256: str
) -> Result:
    """A task: apply the policy to the documents of `part` whose `matches` are not all `common`; write the documents
    `kept` and `removed` and return their counts."""
    treatment = Treatment(benchmark(index, sha256), {gram.encode() for gram in read_json(Path(common))}, policy)
    hits = contaminated(Path(matches), treatment.common)
    tally: Counter[str] = Counter(contaminated=len(hits))
    position = 0
    with kept_and_removed(Path(kept), Path(removed)) as (kept_table, removed_table):
        for batch in part_batches(Path(part)):
            rows = [row for row in range(batch.num_rows) if position + row in hits]
            left, gone = treatment.applied(batch, rows)
            kept_table.write(left)
            removed_table.write(gone)
            tally.update(count(batch, left, gone))
            position += batch.num_rows
    return dict(tally)


def contaminated(matches: Path, common: set[bytes]) -> set[int]:
    """Rows of a part that hold an n-gram which is not common. Of such an n-gram all documents are remembered."""
    table = pq.read_table(matches, schema=MATCHES)
    grams, rows = (table.column(name).to_pylist() for name in ("ngram", "rows"))
    return {row for gram, held_by in zip(grams, rows, strict=True) if gram not in common for row in held_by}


Evidence = list[tuple[int, int, bytes, list[int]]]
"""(first word, size, n-gram, items) of each match in one document."""


@dataclass(frozen=True)
class Treatment:
    """A policy and what it goes by."""

    benchmark: Benchmark
    common: set[bytes]
    """N-grams that are ignored."""
    policy: str

    def applied(self, batch: pa.RecordBatch, rows: list[int]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Treat the contaminated `rows` of a batch: the documents kept, some of them changed, and the rows removed."""
        changed, removed, details = {}, [], []
        for row in rows:
            document = batch.slice(row, 1).to_pylist()[0]
            evidence = self.evidence(document["text"])
            treated = None if self.policy == "drop" else self.treated(document, evidence)
            if treated is None:
                removed.append(row)
                details.append(self.detail(evidence))
            else:
                changed[row] = treated
        gone = batch.take(pa.array(removed, pa.int64()))
        reason = pa.array(["contaminated"] * len(removed), pa.string())
        left = with_changes(batch, changed)
        if removed:
            left = left.take(pa.array(sorted(set(range(batch.num_rows)) - set(removed)), pa.int64()))
        return left, removed_rows(gone, reason, pa.array(details, pa.string()))

    def evidence(self, text: str) -> Evidence:
        """The matches that count."""
        matches = self.benchmark.matches(pa.array([text], pa.large_string()))
        return [(first, size, gram, items) for _, first, size, gram, items in matches if gram not in self.common]

    def detail(self, evidence: Evidence) -> str:
        """The first item found and its n-gram, for a person to read."""
        _, _, gram, items = evidence[0]
        others = len({item for _, _, _, held_by in evidence for item in held_by}) - 1
        more = f" and {others} more items" if others else ""
        return f"{self.benchmark.name(items[0])}: “{gram.decode()}”{more}"

    def treated(self, document: dict[str, Any], evidence: Evidence) -> dict[str, Any] | None:
        """The document marked or trimmed; None when trimming leaves nothing worth keeping."""
        meta = json.loads(document["meta"] or "{}")
        meta["contaminated"] = sorted({self.benchmark.name(item) for _, _, _, items in evidence for item in items})
        text = document["text"]
        if self.policy == "trim":
            # Two pieces that meet can form a match of their own, so look again.
            while evidence:
                pieces = trim(text, [(first, first + size) for first, size, _, _ in evidence])
                if not 0 < len(pieces) <= MAX_PIECES:
                    return None
                text = "\n\n".join(pieces)
                evidence = self.evidence(text)
            meta["trimmed_characters"] = len(document["text"]) - len(text)
        return document | {"text": text, "meta": json.dumps(meta, ensure_ascii=False, sort_keys=True)}


def trim(text: str, matches: list[tuple[int, int]]) -> list[str]:
    """What is left of a text, in pieces, when the sentences that hold the words `first:last` of each match are cut."""
    words = find_words(pa.array([text], pa.large_string()), lowercase=False)
    places = _character_places(text)
    pieces, start = [], 0
    for first, last in _merged(matches):
        begin, end = int(places[words.starts[first]]), int(places[words.ends[last - 1]])
        pieces.append(text[start : max(start, _sentence_start(text, begin))])
        start = max(start, _sentence_end(text, end))
    pieces.append(text[start:])
    return [piece.strip() for piece in pieces if len(piece.strip()) >= MIN_PIECE]


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in order, those that overlap as one."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _character_places(text: str) -> npt.NDArray[np.int64]:
    """For every place in the UTF-8 bytes of a text the number of characters before it, int64 [bytes + 1]."""
    encoded = np.frombuffer(text.encode(), dtype=np.uint8)
    places = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum((encoded & 0xC0) != 0x80, out=places[1:])
    return places


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


def count(batch: pa.RecordBatch, kept: pa.RecordBatch, removed: pa.RecordBatch) -> Counter[str]:
    """What one batch adds to the metrics."""
    tally = Counter(f"removed.{source}" for source in removed.column("source").to_pylist())
    tally.update(documents_in=batch.num_rows, documents_kept=kept.num_rows)
    tally.update(bytes_in=_bytes(batch), bytes_kept=_bytes(kept))
    return tally


def _bytes(batch: pa.RecordBatch) -> int:
    return pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0
