"""Refuse a source of which too much is damaged.

Some damage is normal in large corpora, and one bad file must not stop a run over thousands of them. Much damage means
a wrong format or a failed download, and a corpus made of the rest would be silently incomplete.
"""

from __future__ import annotations

from collections.abc import Sequence

from gptoss.core.errors import DataError
from gptoss.ingest.outcome import FileOutcome, sum_counts

# Damaged files that an error names: enough to see a pattern, few enough to read.
MAX_NAMED = 3


def check_damage(source: str, outcomes: Sequence[FileOutcome], limit: float) -> None:
    """Raises `DataError` when the share of damaged files or of rejected records is above `limit`, or when there is no
    document at all."""
    # Files first: one file that is cut off also has rejected records, and it is the better explanation.
    _check_files(source, outcomes, limit)
    _check_records(source, outcomes, limit)
    if not any(outcome.documents for outcome in outcomes):
        skipped = sum_counts(outcome.skipped for outcome in outcomes)
        raise DataError(
            f"sources.{source}: {len(outcomes)} files gave no document (skipped: {skipped or 'nothing'})",
            f"check that sources.{source}.format is the format of these files",
        )


def _check_files(source: str, outcomes: Sequence[FileOutcome], limit: float) -> None:
    damaged = [outcome for outcome in outcomes if outcome.damage]
    if len(damaged) > limit * len(outcomes):
        named = "; ".join(f"{outcome.url}: {outcome.damage}" for outcome in damaged[:MAX_NAMED])
        raise DataError(
            f"sources.{source}: {_share(len(damaged), len(outcomes), 'files are damaged', limit)}: {named}",
            "fetch the damaged files again, or remove them from sources; raise ingest.max_reject_fraction to accept "
            "what was read before the damage",
        )


def _check_records(source: str, outcomes: Sequence[FileOutcome], limit: float) -> None:
    rejected = sum(outcome.total_rejected for outcome in outcomes)
    records = sum(outcome.records for outcome in outcomes)
    if rejected > limit * records:
        # One wrong file often has most of the rejections, so naming the worst one is enough to find the cause.
        worst = max(outcomes, key=lambda outcome: outcome.total_rejected)
        raise DataError(
            f"sources.{source}: {_share(rejected, records, 'records are rejected', limit)}: {worst.total_rejected} of "
            f"them in {worst.url}, the first at {worst.first_rejection}",
            f"check that sources.{source}.format is the format of this file, repair the file, or raise "
            "ingest.max_reject_fraction",
        )


# The arithmetic is part of the message, so that a user can judge which limit would be enough.
def _share(part: int, whole: int, what: str, limit: float) -> str:
    return f"{part} of {whole} {what} ({part} / {whole} = {part / whole:.3f} > ingest.max_reject_fraction = {limit:g})"
