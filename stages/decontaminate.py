"""Remove the benchmark items from the training text.

In: `data/deduped`; `data/benchmarks/texts.parquet` (`suite`, `task`, `item`, `text` of every evaluated item).
Out: `data/clean`: for each table of documents one with the same number and a `removed-NNNNN.parquet`; and
    `contamination.json`, the items that were found and in how many documents, so that evaluation can also score the
    items that were not found.
Errors: missing benchmark texts.

Method: n-gram overlap as for GPT-3. With `ngrams: [13, 8]` an item of 13 words or more is found by a shared run of 13
words, an item of 8 to 12 words by a run of 8; shorter items cannot be distinguished from common speech and are counted
as not checked. A run in more than 10 documents is a common phrase or boilerplate and is ignored, also in what counts as
found. `policy` decides about a document with an item: `drop` removes it, `mark` keeps it and names the items in its
`meta`, `trim` removes the sentences with the run. Words are those of `gptoss/text/normalize.py`; hashes only suggest
matches, each of which is confirmed on the words themselves.

References: Brown et al., Language Models are Few-Shot Learners (2020), appendix C.
"""

from __future__ import annotations

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.decontaminate.index_files import index_benchmark
from gptoss.decontaminate.outputs import summarize, write_outputs
from gptoss.decontaminate.search import search_parts
from gptoss.tables.batches import part_files
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage


def decontaminate(settings: Settings, run: StageRun) -> Metrics:
    """Search all documents, then write; returns items, items found, and documents removed, trimmed or marked."""
    config = settings.decontaminate
    parts = part_files(paths.DEDUPED)
    # The index is built once per stage and mapped by all workers.
    index = index_benchmark(paths.BENCHMARKS / "texts.parquet", config.ngrams, run.state)

    # Two passes over the documents: which n-grams are common is known after the first.
    matches, contamination = search_parts(parts, index, run.state)
    results = write_outputs(parts, matches, index, contamination, config.policy, paths.CLEAN, run.state)
    return summarize(index, contamination, results, config.policy)


if __name__ == "__main__":
    run_stage(decontaminate, "decontaminate")
