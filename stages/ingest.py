"""Read the raw files of one source, in their native format, into documents.

In: `sources.SOURCE` of `params.yaml`: its format (a reader of `gptoss.config.extensions.READERS`) and its `urls`
(fsspec URLs, local globs, members of pinned package archives, lists of further URLs), each optionally with a checksum.
Out: `data/documents/SOURCE/`: `documents-*.parquet`, `rejected.parquet` (every raw record that should have become a
document and could not, with file, location and reason) and `files.json` (every raw file with its SHA-256).
Errors: a URL that cannot be resolved, reached or verified ends the stage with one message. A damaged file (cut off,
corrupt) contributes the documents before the damage; when the share of damaged files or of rejected records exceeds
`ingest.max_reject_fraction`, the stage fails and writes nothing. A killed stage continues: files that were read are
not read again.
References: each reader in `gptoss/formats` names its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.formats import catalogue
from gptoss.ingest.damage import check_damage
from gptoss.ingest.outcome import totals
from gptoss.ingest.outputs import write_outputs
from gptoss.ingest.read_source import read_source
from gptoss.sources.file_versions import with_versions
from gptoss.sources.resolve_urls import expand_urls
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import run_stage


def ingest(settings: Settings, run: StageRun, source: str) -> Mapping[str, Any]:
    """Documents of one source. Returns counts and bytes. Raises `UserError`, `ClusterError`, `DataError`."""
    started = time.monotonic()
    config = settings.sources[source]
    # URLs before the catalogue: a mistake in them should be reported before anything large is downloaded.
    files = with_versions(expand_urls(config, settings.seed))
    config = catalogue.prepare(config, run.state)

    tables, outcomes = read_source(files, source, config, run.state)
    # Nothing is written for a source that is refused, so a later stage cannot use it by mistake.
    check_damage(source, outcomes, settings.ingest.max_reject_fraction)
    write_outputs(paths.documents(source), run.state, tables, outcomes, settings.ingest.documents_per_file)
    run.log_metrics({"seconds": time.monotonic() - started})
    return totals(outcomes)


if __name__ == "__main__":
    run_stage(ingest, "ingest", keys=lambda settings: settings.sources)
