"""Keep the documents of one source that are text in a wanted language.

In: `data/documents/SOURCE`. Out: `data/curated/SOURCE`: the documents kept, with their measured `language` and with
personal addresses replaced, and `removed.parquet`, every removed document with the rule that removed it and the value
that broke the rule. Wrong: nothing foreseeable; a source of which nothing remains is said so, and left empty.

Method: language identification, then the document rules of Gopher (Rae et al. 2021) and C4 (Raffel et al. 2020) with
their published definitions (`quality.py`), redaction as in FineWeb (Penedo et al. 2024). Redaction comes first, so no
output, removed documents included, holds an address.
"""

from __future__ import annotations

import sys
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from stages import paths
from stages.batches import bounded_batches, document_writer, removed_rows, removed_writer
from stages.entry import Metrics, run_stage
from stages.progress import progress
from stages.settings import Curate, Settings
from stages.storage import atomic_folder
from stages.tracking import StageRun


def curate(settings: Settings, run: StageRun, source: str) -> Metrics:
    """Run the stage for one source; returns documents and bytes in and kept, removed by reason, redactions."""
    tally: Counter[str] = Counter()
    with (
        atomic_folder(paths.curated(source)) as folder,
        document_writer(folder) as kept,
        removed_writer(folder) as removed,
    ):
        for batch in progress(bounded_batches(paths.documents(source)), f"curate {source}", unit="batches"):
            redacted, counts = redacted_batch(batch, settings.curate)
            judged, reason, detail = judge_batch(redacted, settings.curate)
            passed = pc.is_null(reason)
            kept.write(judged.filter(passed))
            failed = pc.invert(passed)
            removed.write(removed_rows(judged.filter(failed), reason.filter(failed), detail.filter(failed)))
            tally.update(count(batch, judged, reason, counts))
    metrics = summary(tally, settings.curate)
    print(f"curate {source}: kept {tally['documents_kept']} of {tally['documents_in']} documents", file=sys.stderr)
    return metrics


def redacted_batch(batch: pa.RecordBatch, settings: Curate) -> tuple[pa.RecordBatch, dict[str, int]]:
    """The batch with addresses in `text` replaced, and how many of each kind."""
    from stages.curate.redact import redact

    texts, counts = redact(batch.column("text").cast(pa.large_string()), settings.redact)
    return batch.set_column(batch.schema.get_field_index("text"), "text", texts), counts


def judge_batch(batch: pa.RecordBatch, settings: Curate) -> tuple[pa.RecordBatch, pa.Array, pa.Array]:
    """The batch with its measured `language`, and reason and detail of each removal, null for the documents kept."""
    from stages.curate.language import identify_all
    from stages.curate.quality import judge

    texts = batch.column("text")
    languages = identify_all(texts, batch.column("language"), settings.languages)
    foreign = pc.invert(pc.is_in(languages, pa.array(settings.languages, pa.string())))
    reason, detail = judge(texts, languages, settings.quality)
    wanted = ", ".join(settings.languages)
    reason = pc.if_else(foreign, "language", reason)
    detail = pc.if_else(foreign, pc.binary_join_element_wise(languages, wanted, " != "), detail)
    return batch.set_column(batch.schema.get_field_index("language"), "language", languages), reason, detail


def count(batch: pa.RecordBatch, judged: pa.RecordBatch, reason: pa.Array, redactions: dict[str, int]) -> Counter[str]:
    """What one batch adds to the metrics."""
    size = pc.binary_length(judged.column("text"))
    removals = Counter(f"removed.{name}" for name in reason.to_pylist() if name is not None)
    return removals + Counter(
        {
            "documents_in": batch.num_rows,
            "documents_kept": reason.null_count,
            "bytes_in": pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0,
            "bytes_kept": pc.sum(size.filter(pc.is_null(reason))).as_py() or 0,
            **{f"redacted.{kind}": number for kind, number in redactions.items()},
        }
    )


def summary(tally: Counter[str], settings: Curate) -> Metrics:
    """The metrics: every key is always there, a rule that removed nothing aside."""
    return {
        **{key: tally[key] for key in ("documents_in", "documents_kept", "bytes_in", "bytes_kept")},
        "documents_removed": tally["documents_in"] - tally["documents_kept"],
        "removed": {k.removeprefix("removed."): tally[k] for k in sorted(tally) if k.startswith("removed.")},
        "redacted": {kind: tally[f"redacted.{kind}"] for kind in settings.redact},
    }


if __name__ == "__main__":
    run_stage(curate, "curate", keys=lambda settings: settings.sources)
