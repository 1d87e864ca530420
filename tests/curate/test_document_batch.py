"""A batch of documents on its way through the filters."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gptoss.curate.document_batch import DocumentBatch
from gptoss.tables.documents import DOCUMENT, REMOVED


def batch_of(*texts: str) -> DocumentBatch:
    rows = [dict.fromkeys(DOCUMENT.names, "") | {"id": str(number), "text": text} for number, text in enumerate(texts)]
    return DocumentBatch(pa.RecordBatch.from_pylist(rows, schema=DOCUMENT))


def test_the_first_reason_is_kept() -> None:
    batch = batch_of("a", "b", "c")
    batch.remove(np.array([True, False, False]), "first", pa.array(["1", "1", "1"]))
    batch.remove(pa.array([True, True, False]), "second", pa.array(["2", "2", "2"], pa.large_string()))
    assert batch.reason.to_pylist() == ["first", "second", None]
    assert batch.detail.to_pylist() == ["1", "2", None]
    assert batch.kept_flags.tolist() == [False, False, True]


def test_kept_documents_have_edited_texts_and_removed_ones_are_whole() -> None:
    batch = batch_of("one line\nmenu", "two lines\nmenu")
    batch.texts = pa.array(["one line", "two lines"], pa.large_string())
    batch.replace_column("title", pa.array(["redacted", "redacted"]))
    batch.remove(np.array([False, True]), "rule", pa.array(["x", "x"]))
    kept, removed = batch.split()
    assert kept.column("text").to_pylist() == ["one line"]
    assert removed.column("text").to_pylist() == ["two lines\nmenu"]
    assert kept.column("title").to_pylist() == removed.column("title").to_pylist() == ["redacted"]
    assert removed.schema.equals(REMOVED)
    assert dict(batch.counts) == {
        "removed.rule": 1, "documents_in": 2, "documents_kept": 1, "bytes_in": 27, "bytes_kept": 8,
    }  # fmt: skip
