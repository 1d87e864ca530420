"""Speed of the data stages, and output per byte of input: from runs of this checkout, otherwise from `rates.yaml`.

A run is used if it read enough to predict the planned work: `gptoss.executor.tasks.MIN_BYTES_FOR_PROCESSES`, or a tenth
of the planned bytes. Of several such runs the one with the most input is used. `rates.yaml` says how it was measured.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptoss.config.cluster import load_cluster
from gptoss.config.yaml_sections import load_yaml
from gptoss.core.errors import PipelineError
from gptoss.executor.tasks import MIN_BYTES_FOR_PROCESSES
from gptoss.pipeline.prefect_environment import listens
from gptoss.tracking import mlflow_client

TABLE = Path(__file__).with_name("rates.yaml")
# A run on this share of the planned bytes predicts well enough, however small it is: extrapolating a run by a factor of
# a thousand would mostly multiply its startup time.
MIN_SHARE = 0.1
# One page of runs, the newest; MLflow allows 50,000 per page, and its default of 1,000 would hide older large runs.
MAX_RUNS = 5_000
# Stages whose work is divided among `data_workers`; the others run in one process.
PARALLEL_STAGES = ("ingest", "curate", "dedup", "decontaminate")

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Rate:
    """Speed and output of one stage, for one format where that matters."""

    stage: str
    format: str
    bytes_per_second: float
    """Input bytes per second of one worker."""
    output_ratio: float
    """Bytes of text of the output per byte of input; for `shards`, tokens per byte of text."""
    document_bytes: float
    """Bytes of text per document of the output; 0 where it is not known."""
    origin: str
    """Where it was measured, for a person."""
    measured_bytes: float = 0.0
    """Input bytes of the run; 0 for the table."""


def _sum(*names: str) -> Callable[[Metrics], float]:
    return lambda metrics: sum(metrics.get(name, 0.0) for name in names)


INPUT = {
    "ingest": _sum("raw_bytes"),
    "curate": _sum("bytes_in"),
    "dedup": _sum("all.bytes_in"),
    "decontaminate": _sum("bytes_in"),
    "tokenizer": _sum("bytes"),
    "shards": _sum("train.bytes", "validation.bytes"),
}
OUTPUT = {
    "ingest": _sum("bytes"),
    "curate": _sum("bytes_kept"),
    "dedup": _sum("all.bytes_kept"),
    "decontaminate": _sum("bytes_kept"),
    "tokenizer": _sum("bytes"),
    "shards": _sum("train.tokens", "validation.tokens"),
}
# The metrics that the stages log, by what they count.
DOCUMENTS = {
    "ingest": _sum("documents"),
    "curate": _sum("documents_kept"),
    "dedup": _sum("all.documents_kept"),
    "decontaminate": _sum("documents_kept"),
    "tokenizer": _sum("documents"),
    "shards": _sum("train.documents", "validation.documents"),
}


class Rates:
    """Looks up rates. `problem` says why no runs could be read; empty when they could."""

    def __init__(self, formats: Mapping[str, str]) -> None:
        self._table = table()
        self._runs, self.problem = measured_rates(formats)

    def of(self, stage: str, format_: str, size: float) -> Rate:
        """The rate for `size` bytes of input. `format_` is empty for stages that read all sources."""
        usable = [
            rate
            for rate in self._runs
            if (rate.stage, rate.format) == (stage, format_)
            and rate.measured_bytes >= min(MIN_BYTES_FOR_PROCESSES, MIN_SHARE * size)
        ]
        # A format without a row of its own (a new reader) is estimated with the row `any` of its stage.
        default = self._table.get((stage, format_)) or self._table[stage, ""]
        return max(usable, key=lambda rate: rate.measured_bytes, default=default)


def table() -> dict[tuple[str, str], Rate]:
    """The committed rates by stage and format."""
    found = {}
    for stage, formats in load_yaml(TABLE)["rates"].items():
        for format_, row in formats.items():
            name = "" if format_ == "any" else format_  # `any`: stages over all sources, and formats without a row
            found[stage, name] = Rate(stage=stage, format=name, origin="table", **row)
    return found


def measured_rates(formats: Mapping[str, str]) -> tuple[list[Rate], str]:
    """Rates of the finished runs in MLflow, or why there are none. `formats` gives the format of each source."""
    uri = mlflow_client.tracking_uri()
    # Connecting would create the database: a plan must write nothing.
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///").partition("?")[0]).exists():
        return [], "no runs in this checkout yet"
    if uri.startswith("http") and not listens(uri):
        return [], f"MLflow at {uri} does not answer"
    try:
        return [rate for run in _finished(uri) if (rate := rate_of(run, formats))], ""
    except Exception as error:  # MLflow lets SQLAlchemy's and requests' errors through besides its own
        return [], f"MLflow at {uri} did not answer ({type(error).__name__})"


def _finished(uri: str) -> Iterable[Any]:
    from mlflow import MlflowClient

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    client = MlflowClient(tracking_uri=uri)
    experiments = [found.experiment_id for found in client.search_experiments() if found.name.startswith("gpt-oss-")]
    if not experiments:  # MLflow takes an empty list for an error
        return ()
    runs: Iterable[Any] = client.search_runs(experiments, "attributes.status = 'FINISHED'", max_results=MAX_RUNS)
    return runs


def rate_of(run: Any, formats: Mapping[str, str]) -> Rate | None:
    """The rate of a finished run; None for other stages, unknown sources and runs without input."""
    stage, _, source = run.data.tags.get("gptoss.stage", "").partition("@")
    metrics: Metrics = run.data.metrics
    if stage not in INPUT or (source and source not in formats):
        return None
    size, output, documents = INPUT[stage](metrics), OUTPUT[stage](metrics), DOCUMENTS[stage](metrics)
    seconds = metrics.get("seconds") or (run.info.end_time - run.info.start_time) / 1000
    if min(size, seconds) <= 0:  # nothing was read: no rate
        return None
    cluster = run.data.tags.get("gptoss.cluster", "")
    workers = _workers(stage, cluster, size, metrics)
    return Rate(
        stage,
        formats.get(source, ""),
        size / seconds / workers,
        output / size,
        output / documents if documents and stage != "shards" else 0.0,
        f"run {run.info.run_id[:8]} on {cluster or 'an unnamed cluster'}, {workers} at a time",
        size,
    )


def _workers(stage: str, cluster: str, size: float, metrics: Metrics) -> int:
    """How many tasks of a run ran at a time. Known are only its number of files and the cluster file, which may have
    changed since."""
    if stage not in PARALLEL_STAGES or size < MIN_BYTES_FOR_PROCESSES:  # so little is read in one process
        return 1
    try:
        workers = load_cluster(cluster).data_workers
    except PipelineError:  # a run on a cluster whose file is not in this checkout
        return 1
    return max(1, min(workers, int(metrics.get("files", workers))))
