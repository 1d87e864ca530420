"""What was observed of the run: times, speeds and memory from MLflow, hashes from `dvc.lock`, the commit.

The run that made a stage's present outputs is the newest finished run with the fingerprint that `dvc.lock`
records, so a stage restored from the cache leads to the run that made it, and an older run is never mistaken
for it.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gptoss.config.cluster import load_cluster
from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.errors import PipelineError
from gptoss.report import champion
from gptoss.tracking import mlflow_run, provenance

ORDER = ("ingest", "curate", "dedup", "benchmarks", "decontaminate", "tokenizer", "shards", "pretrain", "publish@base",
         "instruct", "publish@instruct", "evaluate@base", "evaluate@instruct", "report", "register")  # fmt: skip
"""The stages as they follow each other."""


@dataclass(frozen=True)
class Run:
    """An MLflow run of a stage."""

    run_id: str
    url: str | None
    """Its page, when MLflow is a server."""
    started: str
    seconds: float
    metrics: dict[str, float]
    tags: dict[str, str]


@dataclass(frozen=True)
class Stage:
    """A stage as `dvc.lock` records it, and the run that made it so."""

    name: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    run: Run | None


@dataclass(frozen=True)
class Observed:
    """Everything the report shows that is not a function of the inputs."""

    stages: list[Stage] = field(default_factory=list)
    problem: str = ""
    """Why there is nothing from MLflow; empty when there is."""
    commit: str = "unknown"
    dirty: bool = False
    cluster: str = ""
    machine: str = ""
    """What the cluster is made of."""
    champions: list[dict[str, Any]] = field(default_factory=list)
    """The present models against the champions, see `champion.py`."""

    @property
    def seconds(self) -> float | None:
        """Wall time of all stages together; stages that ran side by side count each."""
        timed = [stage.run.seconds for stage in self.stages if stage.run]
        return sum(timed) if timed else None

    def run_of(self, stage: str) -> Run | None:
        """The run behind a stage's outputs."""
        return next((each.run for each in self.stages if each.name == stage), None)


def observe(settings: Settings) -> Observed:
    """Ask MLflow and `dvc.lock`; an unreachable MLflow is a sentence in the report, never an error."""
    locked = provenance.lock_entries()
    names = sorted((name for name in locked if not _of_another_report(name, locked[name])), key=_position)
    runs: dict[str, Run] = {}
    problem = ""
    try:
        runs = _runs(settings, names)
    except Exception as error:  # MLflow raises its own, SQLAlchemy's and requests' errors alike
        problem = f"MLflow at {mlflow_run.tracking_uri()} did not answer ({type(error).__name__})."
    if not runs and not problem:
        problem = "MLflow holds no run of the present outputs."
    newest = max(runs.values(), key=lambda run: run.started, default=None)
    commit, dirty = mlflow_run.git_state()
    cluster = newest.tags.get("gptoss.cluster", "") if newest else ""
    return Observed(
        stages=[_stage(name, locked[name], runs.get(name)) for name in names],
        problem=problem,
        commit=newest.tags.get("gptoss.git_commit", commit) if newest else commit,
        dirty=newest.tags.get("gptoss.git_dirty") == "true" if newest else dirty,
        cluster=cluster,
        machine=describe(cluster),
        champions=_champions(settings) if runs else [],
    )


def _champions(settings: Settings) -> list[dict[str, Any]]:
    """The comparison with the champions; none where the registry or the samples cannot be read."""
    try:
        return champion.compare(settings)
    except Exception as error:  # as above: the report is never the reason that a run fails
        print(f"not compared with the champions: {error}", file=sys.stderr)
        return []


def describe(cluster: str) -> str:
    """The processes, device and mesh of a cluster file, as far as it is there to read."""
    try:
        found = load_cluster(cluster) if cluster else None
    except PipelineError:
        found = None
    if found is None:
        return ""
    mesh = found.mesh
    return (
        f"{found.nodes * found.processes_per_node} processes on {found.device} for training, "
        f"pipeline {mesh.pp} × replicas {mesh.dp_replicate} × shards {mesh.dp_shard}"
    )


def _of_another_report(name: str, entry: dict[str, Any]) -> bool:
    """Whether an entry is of an earlier run: while the report is made, `dvc.lock` still holds the last report and
    what was registered with it."""
    hashes = {item["path"]: item.get("md5") for kind in ("deps", "outs") for item in entry.get(kind, [])}
    facts = paths.REPORTS / "facts.json"
    recorded = hashes.get(facts.as_posix())
    if recorded is None or not facts.exists():
        return name == "report"
    return bool(recorded != hashlib.md5(facts.read_bytes(), usedforsecurity=False).hexdigest())


def _position(stage: str) -> tuple[int, str]:
    for position, name in enumerate(ORDER):
        if stage == name or stage.startswith(f"{name}@"):
            return position, stage
    return len(ORDER), stage


def _stage(name: str, entry: dict[str, Any], run: Run | None) -> Stage:
    def hashes(kind: str) -> dict[str, str]:
        return {item["path"]: str(item.get("md5", "")) for item in entry.get(kind, [])}

    return Stage(name, hashes("deps"), hashes("outs"), run)


def _runs(settings: Settings, names: list[str]) -> dict[str, Run]:
    """The run of each stage, where MLflow has it."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # a server that is down is not waited for
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    if not names:
        return {}
    client, experiment = mlflow_run.connect(f"gpt-oss-{settings.name}")
    found: dict[str, Run] = {}
    for name in names:
        recorded = provenance.recorded(name)
        if recorded is None:
            continue
        newest = client.search_runs(
            [experiment],
            filter_string=f"tags.`gptoss.fingerprint` = '{recorded.fingerprint}' and attributes.status = 'FINISHED'",
            order_by=["attributes.start_time DESC"],
            max_results=1,
        )
        if newest:
            found[name] = _run(newest[0], _typical(client, newest[0]))
    return found


def _typical(client: Any, run: Any) -> dict[str, float]:
    """The metrics of a run: the last value of each, but the median of a speed and the highest use of memory."""
    metrics: dict[str, float] = dict(run.data.metrics)
    for name in metrics:
        if name.endswith("_per_second") or "memory" in name:
            values = [point.value for point in client.get_metric_history(run.info.run_id, name)]
            metrics[name] = statistics.median(values) if name.endswith("_per_second") else max(values)
    return metrics


def _run(run: Any, metrics: dict[str, float]) -> Run:
    uri = mlflow_run.tracking_uri()
    page = f"{uri.rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    return Run(
        run_id=str(run.info.run_id),
        url=page if uri.startswith(("http://", "https://")) else None,
        started=started.strftime("%Y-%m-%d %H:%M:%S UTC"),
        seconds=(run.info.end_time - run.info.start_time) / 1000,
        metrics=metrics,
        tags=dict(run.data.tags),
    )
