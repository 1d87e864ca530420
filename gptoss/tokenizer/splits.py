"""Which documents are held out for validation, and what the token files require of the documents."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

from gptoss.config.settings import Settings
from gptoss.core.errors import DataError
from gptoss.tables.documents import read_batches
from gptoss.tables.token_files import Split
from gptoss.tokenizer.seeded_hash import seeded_hash

SPLITS: tuple[Split, ...] = ("train", "validation")


def split_of(document_id: str, settings: Settings) -> Split:
    """Return the split of a document. It depends on seed and id alone, so a held-out document stays held out when other
    documents are added or removed, and a larger `validation_fraction` only adds documents."""
    threshold = settings.shards.validation_fraction * 2**64
    return "validation" if seeded_hash("split", settings.seed, document_id) < threshold else "train"


def validate_documents(folder: Path, settings: Settings) -> int:
    """Return the number of documents, after checking in one pass over ids and sources that encoding can succeed.

    Errors: `DataError` when a split would be empty, or when the documents of a source are not contiguous.
    """
    counts = dict.fromkeys(SPLITS, 0)
    source_runs: list[str] = []
    for batch in read_batches(folder, ["id", "source"]):
        for document_id in batch["id"].to_pylist():
            counts[split_of(document_id, settings)] += 1
        source_runs += [source for source, _ in itertools.groupby(batch["source"].to_pylist())]
    _require_contiguous(folder, source_runs)
    _require_both_splits(counts, settings)
    return sum(counts.values())


def _require_contiguous(folder: Path, source_runs: list[str]) -> None:
    """Data mixing reads each source as one range of tokens, so a source must be one run of documents."""
    runs = Counter(source for source, _ in itertools.groupby(source_runs))  # a run may continue in the next batch
    if scattered := sorted(source for source, count in runs.items() if count > 1):
        raise DataError(
            f"{folder}: the documents of {', '.join(scattered)} are not contiguous, other sources lie between them",
            "run `dvc repro dedup decontaminate`, which keep the documents in order of source",
        )


def _require_both_splits(counts: dict[Split, int], settings: Settings) -> None:
    documents = sum(counts.values())
    fraction = settings.shards.validation_fraction
    for split, share in zip(SPLITS, (1 - fraction, fraction), strict=True):
        if not counts[split]:
            # Three expected documents make an empty split unlikely: exp(-3) = 5 %.
            raise DataError(
                f"the {split} split is empty: {documents} documents * {share:g} = {documents * share:.2f} expected, "
                f"and seed {settings.seed} draws none",
                f"add documents (`sources`), set shards.validation_fraction to {3 / max(documents, 7):.3g} "
                "(3 documents expected), or change seed",
            )
