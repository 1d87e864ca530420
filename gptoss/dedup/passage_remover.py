"""Remove the repeated passages of a part from its documents, with counts and a sample of what was removed."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gptoss.dedup.repeated_passages import RepeatedPassages
from gptoss.text.arrays import Integers
from gptoss.text.normalize import find_words
from gptoss.text.spans import remove_spans, replace_documents

EXCERPT = 300
"""Characters of a passage that are shown in the sample."""


class PassageRemover:
    """Processes the batches of a part in order. `bounds`: the words of document i are `bounds[i]:bounds[i + 1]`;
    `sample_size`: how many different passages are sampled."""

    def __init__(self, passages: RepeatedPassages, bounds: Integers, sample_size: int) -> None:
        self.counts: dict[str, Counter[str]] = {}
        """Per source."""
        self.sample: list[dict[str, Any]] = []
        """Rows of passage_sample.SAMPLE_SCHEMA."""
        self._passages = passages
        self._bounds = bounds
        sample, copies = passages.sample(sample_size)
        self._copies = dict(zip(sample.begins.tolist(), copies.tolist(), strict=True))
        self._row = 0

    def without_passages(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The next documents of the part, without their repeated passages."""
        start, end = np.searchsorted(self._passages.rows, [self._row, self._row + batch.num_rows])
        passages = self._passages.select(np.arange(start, end))
        rows, firsts = np.unique(passages.rows - self._row, return_index=True)
        documents = batch.take(pa.array(rows))
        texts = documents.column("text")
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
            copies = self._copies.get(first + before)
            if copies is not None:
                excerpt = encoded[starts[first] : ends[last - 1]].decode()[:EXCERPT]
                self.sample.append(_sample_row(document["id"], last - first, copies, excerpt, passages, number))
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


def _sample_row(
    document: str, words: int, copies: int, excerpt: str, passages: RepeatedPassages, number: int
) -> dict[str, Any]:
    return {
        "id": document,
        "words": words,
        "copies": copies,
        "passage": excerpt,
        "hash": int(passages.hashes[number]),
        "first_part": int(passages.first_parts[number]),
        "first_word": int(passages.first_words[number]),
    }
