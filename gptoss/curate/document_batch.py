"""A batch of documents on its way through the filters: its texts as edited so far, and why documents are removed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gptoss.tables.batches import removed_rows

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class DocumentBatch:
    """The state that filters read and change. All arrays have one entry per document, in the order of ingestion."""

    def __init__(self, ingested: pa.RecordBatch) -> None:
        # The documents as `ingest` wrote them.
        self.ingested = ingested
        # The documents as removed ones are written: redacted, with the measured language, otherwise whole. A person who
        # checks a rule needs to see what it saw, but personal data must not leave the pipeline by this table either.
        self.documents = ingested
        # large_string: the texts as edited so far, which kept documents are written with.
        self.texts: pa.Array = ingested.column("text").cast(pa.large_string())
        # string: the reason of the first filter that removed the document (null while it is kept), and the value that
        # broke the rule, such as `words 2 < 50`.
        self.reason: pa.Array = pa.nulls(ingested.num_rows, pa.string())
        self.detail: pa.Array = self.reason
        # float64 by name: measures of the texts, for the histograms; NaN where a document was not measured.
        self.measures: dict[str, Floats] = {}
        # int64 by kind: items of personal data found per document.
        self.personal_data: dict[str, Integers] = {}
        # Hash of a repeated line that was cut, to its first wording and the number of documents that contain it.
        self.line_samples: dict[int, tuple[str, int]] = {}
        # What filters counted, by key of the stage's metrics.
        self.counts: Counter[str] = Counter()

    def remove(self, flags: pa.Array | Flags, reason: str | pa.Array, detail: pa.Array) -> None:
        """Remove the documents with a flag; one that an earlier filter removed keeps its first reason."""
        flags = pa.array(flags) if isinstance(flags, np.ndarray) else flags
        # Filters see all documents, removed ones too, so the first reason has to be protected here.
        newly_removed = pc.and_(flags, pc.is_null(self.reason))
        self.reason = pc.if_else(newly_removed, reason, self.reason)
        self.detail = pc.if_else(newly_removed, detail.cast(pa.string()), self.detail)

    def replace_column(self, name: str, values: pa.Array) -> None:
        """Replace a column of `documents`, and so of what is written for kept and removed documents alike."""
        self.documents = self.documents.set_column(self.documents.schema.get_field_index(name), name, values)

    @property
    def kept_flags(self) -> Flags:
        """Which documents are kept so far, bool [documents]."""
        return np.asarray(pc.is_null(self.reason).to_numpy(zero_copy_only=False))

    def split(self) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The documents kept, with edited texts, and those removed, whole (schema `REMOVED`); adds to `counts`."""
        kept_flags = pc.is_null(self.reason)
        removed_flags = pc.invert(kept_flags)
        removed = removed_rows(
            self.documents.filter(removed_flags), self.reason.filter(removed_flags), self.detail.filter(removed_flags)
        )
        self.replace_column("text", self.texts)
        kept = self.documents.filter(kept_flags)
        self.counts.update(f"removed.{reason}" for reason in removed.column("reason").to_pylist())
        self.counts.update(
            documents_in=self.ingested.num_rows,
            documents_kept=kept.num_rows,
            bytes_in=text_bytes(self.ingested.column("text")),
            bytes_kept=text_bytes(kept.column("text")),
        )
        return kept, removed


def text_bytes(texts: pa.Array) -> int:
    """Total UTF-8 bytes of a string array."""
    return pc.sum(pc.binary_length(texts)).as_py() or 0
