"""Remove exact and near duplicates over all sources, and duplicates of documents that earlier runs kept.

In: `data/curated/SOURCE` of every source; the indexes of earlier runs in `dedup.known`.
Out: `data/deduped`: part N of all sources, in order of their names, becomes `documents-N.parquet` and
    `removed-N.parquet`, in which each removed document names the kept document it duplicates and their measured Jaccard
    similarity. With `dedup.substrings`, passages that occur earlier are removed from the kept documents, and
    `passages.parquet` holds a sample of them. With `dedup.index` also `index`: what a later run has to know about the
    documents that were kept.
Errors: a source that loses more than `dedup.max_removed_fraction` fails the stage before anything is written; an index
    that was made with other settings.

Method: exact duplicates by a 128-bit hash of the normalised text; near duplicates by MinHash over word n-grams with
banding, each candidate pair verified by its exact Jaccard similarity, and star clusters around the longest text,
because chains of similar pairs would join documents that are not similar. Every step is a task per file or per range of
keys, so memory holds some numbers per document and not texts.

References: Broder, On the resemblance and containment of documents (1997); Lee et al., Deduplicating Training Data
Makes Language Models Better (2022), sections 4.1 and 4.2.
"""

from __future__ import annotations

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.dedup.find_duplicates import find_duplicates
from gptoss.dedup.increments import write_index
from gptoss.dedup.outputs import assemble, write_outputs
from gptoss.dedup.remove_passages import remove_passages
from gptoss.dedup.summary import check_removed_fractions, summarize
from gptoss.tables.batches import part_files
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage


def dedup(settings: Settings, run: StageRun) -> Metrics:
    """Decide, then write; returns documents kept and removed per source, pairs, and sizes of clusters of duplicates."""
    config = settings.dedup
    sources = {source: part_files(paths.curated(source)) for source in sorted(settings.sources)}
    parts = [part for files in sources.values() for part in files]

    # Decide about all documents before anything is written, so that a source that loses too much changes no output.
    decisions = find_duplicates(parts, config, settings.seed, run.state)
    check_removed_fractions(sources, decisions, config.max_removed_fraction)

    outputs, results = write_outputs(parts, decisions, run.state)
    # Passages come after documents: repeats between documents that are removed anyway need not be found.
    documents, passages = [output.documents for output in outputs], None
    if config.substrings:
        documents, passages = remove_passages(documents, config.substrings, run.state)
    index = write_index(decisions, outputs, config, settings.seed, run.state) if config.index else []

    # All files of the output appear at once, when every task has succeeded.
    assemble(paths.DEDUPED, documents, outputs, run.state, index)
    return summarize(sources, decisions, results, passages)


if __name__ == "__main__":
    run_stage(dedup, "dedup")
