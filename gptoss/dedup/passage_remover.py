"""Remove the repeated passages of a part from its documents, with counts and a sample for people to look at."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gptoss.dedup.repeated_passages import RepeatedPassages
from gptoss.text.arrays import Integers
from gptoss.text.normalize import find_words
from gptoss.text.spans import remove_spans, replace_documents

# Different passages in the sample.
SAMPLE_SIZE = 1_000
# A removed passage: the document from which it was removed (the first of several), its length, the document that holds
# its first occurrence, how often a passage that begins with the same window was removed, and the beginning of its text.
PASSAGES = pa.schema(
    [
        ("id", pa.string()),
        ("words", pa.int64()),
        ("first_id", pa.string()),
        ("copies", pa.int64()),
        ("passage", pa.large_string()),
    ]
)
# The sample of one part: `first_id` is still empty, its document is given by part and word.
SAMPLE_SCHEMA = pa.schema([*PASSAGES, ("hash", pa.uint64()), ("first_part", pa.int64()), ("first_word", pa.int64())])
# Characters of a passage that are shown in the sample.
EXCERPT = 300


class PassageRemover:
    """Processes the batches of a part in order. The words of document i are `bounds[i]:bounds[i + 1]`. Collects
    `counts` per source, and `sample`, rows of `SAMPLE_SCHEMA`."""

    def __init__(self, passages: RepeatedPassages, bounds: Integers) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.sample: list[dict[str, Any]] = []
        self._passages = passages
        self._bounds = bounds
        sample, copies = passages.sample(SAMPLE_SIZE)
        self._copies = dict(zip(sample.begins.tolist(), copies.tolist(), strict=True))
        self._row = 0

    def without_passages(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The next documents of the part, without their repeated passages."""
        start, end = np.searchsorted(self._passages.rows, [self._row, self._row + batch.num_rows])
        passages = self._passages.select(np.arange(start, end))
        rows, firsts = np.unique(passages.rows - self._row, return_index=True)
        documents = batch.take(pa.array(rows))
        texts = documents.column("text")
        # Spans in the original text (`lowercase=False`), and only for the documents that change.
        words = find_words(texts, lowercase=False)
        bytes_before = np.cumsum(np.append(0, pc.binary_length(texts).to_numpy(zero_copy_only=False)))
        limits = np.append(firsts, len(passages))
        changed = {}
        for number, row in enumerate(rows.tolist()):
            own = slice(*words.offsets[number : number + 2].tolist())
            starts, ends = ((edges[own] - bytes_before[number]).tolist() for edges in (words.starts, words.ends))
            own_passages = passages.select(np.arange(limits[number], limits[number + 1]))
            changed[row] = self._rewrite(documents.slice(number, 1).to_pylist()[0], starts, ends, own_passages)
        self._row += batch.num_rows
        return replace_documents(batch, changed)

    def _rewrite(
        self, document: dict[str, Any], starts: list[int], ends: list[int], passages: RepeatedPassages
    ) -> dict[str, Any]:
        """The new text and meta of a document whose words are the bytes `starts` to `ends`."""
        before = int(self._bounds[passages.rows[0]])  # words of the part before this document
        spans = list(zip((passages.begins - before).tolist(), (passages.ends - before).tolist(), strict=True))
        encoded = document["text"].encode()
        for number, (first, last) in enumerate(spans):
            # A passage is identified by its first window, so the one at this word is in the sample or is not.
            copies = self._copies.get(first + before)
            if copies is not None:
                excerpt = encoded[starts[first] : ends[last - 1]].decode()[:EXCERPT]
                found = (passages.hashes[number], passages.first_parts[number], passages.first_words[number])
                values = (document["id"], last - first, None, copies, excerpt, *map(int, found))
                self.sample.append(dict(zip(SAMPLE_SCHEMA.names, values, strict=True)))
        text = remove_spans(encoded, starts, ends, spans)
        words = sum(last - first for first, last in spans)
        self.counts.setdefault(document["source"], Counter()).update(
            documents_cut=1,
            passages_cut=len(spans),
            words_cut=words,
            bytes_cut=len(encoded) - len(text.encode()),
        )
        meta = json.loads(document["meta"] or "{}") | {"cut_passages": len(spans), "cut_words": words}
        return {"text": text, "meta": json.dumps(meta, ensure_ascii=False, sort_keys=True)}


def merge_samples(
    samples: Sequence[Path], parts: Sequence[Path], document_bounds: Callable[[int], Integers]
) -> pa.Table:
    """`PASSAGES`: one sample of all parts. `samples`: the sample of each part, where it has one; `document_bounds(n)`:
    the words at which the documents of part n begin."""
    rows: dict[int, dict[str, Any]] = {}
    for path in filter(Path.exists, samples):
        for row in pq.read_table(path, schema=SAMPLE_SCHEMA).to_pylist():
            merged = rows.setdefault(row["hash"], row | {"copies": 0})
            merged["copies"] += row["copies"]
        # The sample is the SAMPLE_SIZE smallest hashes, so dropping larger ones early cannot lose a final row.
        rows = dict(sorted(rows.items())[:SAMPLE_SIZE])
    for part in {row["first_part"] for row in rows.values()}:
        bounds, ids = document_bounds(part), pq.read_table(parts[part], columns=["id"]).column("id")
        for row in rows.values():
            if row["first_part"] == part:
                row["first_id"] = ids[np.searchsorted(bounds, row["first_word"], side="right") - 1].as_py()
    return pa.Table.from_pylist(list(rows.values()), schema=PASSAGES)
