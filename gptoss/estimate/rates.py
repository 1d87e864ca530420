"""How fast the data stages are and what they make of their input: from runs of this checkout, else from a table.

A run counts when it read enough to say something about the planned work: `gptoss.executor.tasks.LITTLE_WORK`, or a tenth
of the plan. Of several, the one that read most. The table, `rates.yaml`, says how it was measured.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptoss.config.cluster import load_cluster
from gptoss.config.section import load_yaml
from gptoss.core.errors import PipelineError
from gptoss.executor.tasks import LITTLE_WORK
from gptoss.pipeline.prefect_environment import listens
from gptoss.tracking import mlflow_run

TABLE = Path(__file__).with_name("rates.yaml")
ENOUGH = 0.1
"""A run on this share of the planned bytes says enough, however little that is."""
MOST_RUNS = 5_000
SCALED = ("ingest", "curate", "dedup", "decontaminate")
"""Stages whose work is spread over `data_workers`; the others are one process."""

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Rate:
    """Of one stage, and of one format where that matters."""

    stage: str
    format: str
    bytes_per_second: float
    """Of input, by one worker."""
    out: float
    """Bytes of text that go on for each byte of input; of `shards` tokens for each byte."""
    document: float
    """Bytes of text a document that goes on."""
    origin: str
    """Where it was measured, for people."""
    measured_on: float = 0.0
    """Bytes of input of the run; 0 for the table."""


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
DOCUMENTS = {
    "ingest": _sum("documents"),
    "curate": _sum("documents_kept"),
    "dedup": _sum("all.documents_kept"),
    "decontaminate": _sum("documents_kept"),
    "tokenizer": _sum("documents"),
    "shards": _sum("train.documents", "validation.documents"),
}
"""Metrics as the stages log them."""


class Rates:
    """Look up rates; `problem` says why no runs could be asked, empty when they could."""

    def __init__(self, formats: Mapping[str, str]) -> None:
        self._formats = formats
        self._table = table()
        self._runs, self.problem = observed(formats)

    def of(self, stage: str, format_: str, size: float) -> Rate:
        """The rate for reading `size` bytes. `format_` is empty for stages over all sources."""
        fitting = [
            rate
            for rate in self._runs
            if (rate.stage, rate.format) == (stage, format_) and rate.measured_on >= min(LITTLE_WORK, ENOUGH * size)
        ]
        return max(fitting, key=lambda rate: rate.measured_on, default=self._table[stage, format_])


def table() -> dict[tuple[str, str], Rate]:
    """The committed rates by stage and format."""
    found = {}
    for stage, formats in load_yaml(TABLE)["rates"].items():
        for format_, row in formats.items():
            name = "" if format_ == "any" else format_
            found[stage, name] = Rate(stage, name, row["bytes_per_second"], row["out"], row["document"], "table")
    return found


def observed(formats: Mapping[str, str]) -> tuple[list[Rate], str]:
    """Rates of the finished runs in MLflow. `formats` tells the format of each source."""
    uri = mlflow_run.tracking_uri()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///").partition("?")[0]).exists():
        return [], "no runs in this checkout yet"
    if uri.startswith("http") and not listens(uri):
        return [], f"MLflow at {uri} does not answer"
    try:
        return [rate for run in _finished(uri) if (rate := rate_of(run, formats))], ""
    except Exception as error:  # MLflow raises its own, SQLAlchemy's and requests' errors alike
        return [], f"MLflow at {uri} did not answer ({type(error).__name__})"


def _finished(uri: str) -> Iterable[Any]:
    from mlflow import MlflowClient

    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    client = MlflowClient(tracking_uri=uri)
    experiments = [one.experiment_id for one in client.search_experiments() if one.name.startswith("gpt-oss-")]
    return (
        client.search_runs(experiments, "attributes.status = 'FINISHED'", max_results=MOST_RUNS) if experiments else ()
    )


def rate_of(run: Any, formats: Mapping[str, str]) -> Rate | None:
    """What a finished run says; None for other stages, unknown sources and runs that read nothing."""
    stage, _, source = run.data.tags.get("gptoss.stage", "").partition("@")
    metrics: Metrics = run.data.metrics
    if stage not in INPUT or (source and source not in formats):
        return None
    size, out, documents = INPUT[stage](metrics), OUTPUT[stage](metrics), DOCUMENTS[stage](metrics)
    seconds = metrics.get("seconds") or (run.info.end_time - run.info.start_time) / 1000
    if min(size, seconds) <= 0:
        return None
    cluster = run.data.tags.get("gptoss.cluster", "")
    workers = _workers(stage, cluster, size, metrics)
    return Rate(
        stage,
        formats.get(source, ""),
        size / seconds / workers,
        out / size,
        out / documents if documents and stage != "shards" else 0.0,
        f"run {run.info.run_id[:8]} on {cluster or 'an unnamed cluster'}, {workers} at a time",
        size,
    )


def _workers(stage: str, cluster: str, size: float, metrics: Metrics) -> int:
    """How many tasks of a run were done at a time, as far as the run tells."""
    if stage not in SCALED or size < LITTLE_WORK:
        return 1
    try:
        workers = load_cluster(cluster).data_workers
    except PipelineError:
        return 1
    return max(1, min(workers, int(metrics.get("files", workers))))
