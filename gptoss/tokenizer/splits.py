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

    Errors: `DataError` when the documents of a source are not contiguous, or when a split would be empty.
    """
    counts = dict.fromkeys(SPLITS, 0)
    sources: list[str] = []
    for batch in read_batches(folder, ["id", "source"]):
        for document_id in batch["id"].to_pylist():
            counts[split_of(document_id, settings)] += 1
        sources += [source for source, _ in itertools.groupby(batch["source"].to_pylist())]
    # Data mixing reads each source as one range of tokens, so a source must be one run of documents. Runs are counted
    # after a second groupby, because a run may continue in the next batch.
    runs = Counter(source for source, _ in itertools.groupby(sources))
    if scattered := sorted(source for source, count in runs.items() if count > 1):
        raise DataError(
            f"{folder}: the documents of {', '.join(scattered)} are not contiguous, other sources lie between them",
            "run `dvc repro dedup decontaminate`, which keep the documents in order of source",
        )
    for split in SPLITS:
        if not counts[split]:
            raise _empty_split(split, sum(counts.values()), settings)
    return sum(counts.values())


def _empty_split(split: Split, documents: int, settings: Settings) -> DataError:
    fraction = settings.shards.validation_fraction
    share = fraction if split == "validation" else 1 - fraction
    # With three expected documents a split is empty with a probability of exp(-3) = 5 %.
    return DataError(
        f"the {split} split is empty: {documents} documents * {share:g} = {documents * share:.2f} expected, "
        f"and seed {settings.seed} draws none",
        f"add documents (`sources`), set shards.validation_fraction to {3 / max(documents, 7):.3g} "
        "(3 documents expected), or change seed",
    )
