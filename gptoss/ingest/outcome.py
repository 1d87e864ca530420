"""What came of the raw files of a source: counts, hashes, and damage.

Every record that a reader yields becomes a document, is rejected, or is skipped; `FileOutcome.check` and the metrics of
the stage rely on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class FileOutcome:
    """What came of one raw file."""

    url: str
    archive: str = ""
    archive_sha256: str = ""
    sha256: str = ""
    bytes: int = 0
    """Size of the raw file as it is stored, compressed or not."""
    records: int = 0
    documents: int = 0
    text_bytes: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    """Number of records by reason."""
    first_rejection: str = ""
    """Locator, reason and detail of the first one, for the error that refuses the source."""
    damage: str = ""
    """Why the rest of the file could not be read, empty when all of it was. Damage counts as one rejected record."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Number of records by reason."""

    @property
    def total_rejected(self) -> int:
        """Rejected records, whatever the reason."""
        return sum(self.rejected.values())

    @property
    def total_skipped(self) -> int:
        """Skipped records, whatever the reason."""
        return sum(self.skipped.values())

    def check(self) -> None:
        """Raises `RuntimeError` unless every record was counted exactly once."""
        # Not an assertion: a record lost in silence would go unnoticed in a corpus, also under `python -O`.
        if self.records != self.documents + self.total_rejected + self.total_skipped:
            raise RuntimeError(
                f"{self.url}: {self.records} records, but {self.documents} documents + {self.total_rejected} rejected "
                f"+ {self.total_skipped} skipped"
            )

    def entry(self) -> dict[str, Any]:
        """The entry of `files.json`."""
        # Files that are not members of an archive have no such keys, rather than empty ones.
        archive = {"archive": self.archive, "archive_sha256": self.archive_sha256} if self.archive else {}
        return archive | {
            "url": self.url,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "records": self.records,
            "documents": self.documents,
            "rejected": self.total_rejected,
            "skipped": self.total_skipped,
            "status": "damaged" if self.damage else "ok",
            "detail": self.damage,
        }


def totals(outcomes: Sequence[FileOutcome]) -> dict[str, Any]:
    """The metrics of the stage: `records` = `documents` + `rejected` + the sum of `skipped`."""
    return {
        "records": sum(outcome.records for outcome in outcomes),
        "documents": sum(outcome.documents for outcome in outcomes),
        "bytes": sum(outcome.text_bytes for outcome in outcomes),
        "files": len(outcomes),
        "raw_bytes": sum(outcome.bytes for outcome in outcomes),
        "damaged_files": sum(1 for outcome in outcomes if outcome.damage),
        "rejected": sum(outcome.total_rejected for outcome in outcomes),
        "rejected_by": sum_counts(outcome.rejected for outcome in outcomes),
        "skipped": sum_counts(outcome.skipped for outcome in outcomes),
    }


def sum_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of several counts by key, sorted by key."""
    total = Counter[str]()
    for count in counts:
        total.update(count)
    # Sorted, so that the metrics are byte-identical whatever order the reasons occurred in.
    return dict(sorted(total.items()))
