"""Keep the documents of one source that pass the filters, without personal data.

In: `data/documents/SOURCE`. Out: `data/curated/SOURCE`:
- `documents-NNNNN.parquet`: the documents kept of each input file, with their measured language;
- `removed-NNNNN.parquet`: the others, whole, each with the rule that removed it and the value that broke the rule;
- `repeated_lines.parquet`: the boilerplate lines that were cut most often;
- `distributions.json`, `languages.json`: histograms of the documents before and after filtering.

Errors: `DataError` when the input is missing or a list of domains or words is damaged; `UserError` when a list does not
exist. A source of which nothing is kept is not an error: its tables are empty.

References: the filters, in order: `gptoss/curate/filters`; each names its paper.
"""

from __future__ import annotations

import sys

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.executor.tasks import run_tasks
from gptoss.tables.batches import part_files
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage


def curate(settings: Settings, run: StageRun, source: str) -> Metrics:
    """Filter and redact one source; returns documents and bytes in and kept, removals by reason, items redacted."""
    # Imported here because Numba and the language detector take a second, which `--help` would have to wait for.
    from gptoss.curate.curate_file import curate_file
    from gptoss.curate.filters import FilterContext, prepare_filters
    from gptoss.curate.outputs import assemble, summarize

    files = part_files(paths.documents(source))
    filters = prepare_filters(FilterContext(files, settings.curate, settings.sources[source], run.state))
    folder = run.state / "parts"
    tasks = [{"file": str(file), "folder": str(folder), "filters": filters} for file in files]
    bytes_in = sum(file.stat().st_size for file in files)
    results = run_tasks("curate_files", curate_file, tasks, run.state, input_bytes=bytes_in)
    metrics = summarize(results, settings.curate)
    assemble(paths.curated(source), files, folder, results)
    print(f"curate {source}: kept {metrics['documents_kept']} of {metrics['documents_in']} documents", file=sys.stderr)
    return metrics


if __name__ == "__main__":
    run_stage(curate, "curate", keys=lambda settings: settings.sources)
