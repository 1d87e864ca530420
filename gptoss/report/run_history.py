"""The runs behind the present outputs: times, speeds and memory from MLflow, hashes from `dvc.lock`, the git commit.

The run that made a stage's present outputs is the newest finished run with the fingerprint that `dvc.lock` records. So
a stage restored from DVC's cache leads to the run that made it, and an older run with other inputs is never mistaken
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
from gptoss.tracking import mlflow_client, provenance

# The stages in the order in which a reader follows them.
ORDER = ("ingest", "curate", "dedup", "benchmarks", "decontaminate", "tokenizer", "shards", "pretrain", "publish@base",
         "instruct", "publish@instruct", "evaluate@base", "evaluate@instruct", "report", "register")  # fmt: skip


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
    """A stage as recorded in `dvc.lock` (MD5 by path), and the run that made its outputs."""

    name: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    run: Run | None


@dataclass(frozen=True)
class RunHistory:
    """Everything the report shows that is not a function of its inputs."""

    stages: list[Stage] = field(default_factory=list)
    problem: str = ""
    """Why there is nothing from MLflow; empty when there is."""
    commit: str = "unknown"
    dirty: bool = False
    cluster: str = ""
    machine: str = ""
    """Processes, device and mesh of the cluster."""
    champions: list[dict[str, Any]] = field(default_factory=list)
    """The present models against the champions, see `champion.py`."""

    @property
    def seconds(self) -> float | None:
        """Wall time of all stages added up, also of those that ran in parallel."""
        timed = [stage.run.seconds for stage in self.stages if stage.run]
        return sum(timed) if timed else None

    def run_of(self, stage: str) -> Run | None:
        """The run behind a stage's outputs."""
        return next((entry.run for entry in self.stages if entry.name == stage), None)


def load_run_history(settings: Settings) -> RunHistory:
    """Read `dvc.lock` and MLflow; an MLflow that does not answer becomes a sentence of the report, never an error."""
    locked = provenance.lock_entries()
    names = sorted((name for name in locked if not _is_of_earlier_report(name, locked[name])), key=_position)
    runs: dict[str, Run] = {}
    problem = ""
    try:
        found = find_runs(settings, names)
        if found:
            client, _ = mlflow_client.connect(f"gpt-oss-{settings.name}")
            runs = {name: _run(run, _summarised_metrics(client, run)) for name, run in found.items()}
    except Exception as error:  # MLflow lets SQLAlchemy's and requests' errors through besides its own
        problem = f"MLflow at {mlflow_client.tracking_uri()} did not answer ({type(error).__name__})."
    if not runs and not problem:
        problem = "MLflow holds no run of the present outputs."
    # Commit and cluster of the newest run: the stages may come from different ones, and this one decided the report.
    newest = max(runs.values(), key=lambda run: run.started, default=None)
    commit, dirty = provenance.git_state()
    tags = newest.tags if newest else {}
    cluster = tags.get("gptoss.cluster", "")
    return RunHistory(
        stages=[_stage(name, locked[name], runs.get(name)) for name in names],
        problem=problem,
        # As recorded at the start of the run: the checkout may have moved since.
        commit=tags.get("gptoss.git_commit", commit),
        dirty=tags.get("gptoss.git_dirty") == "true" if newest else dirty,
        cluster=cluster,
        machine=describe(cluster),
        champions=_champions(settings) if runs else [],
    )


def find_runs(settings: Settings, stages: list[str]) -> dict[str, Any]:
    """The MLflow run that made the present outputs of each stage; stages without one are left out. Raises what MLflow
    raises."""
    # A server that is down is given up after seconds: MLflow's defaults would wait for many minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    recorded = {stage: found for stage in stages if (found := provenance.recorded(stage))}
    if not recorded:
        return {}
    client, experiment = mlflow_client.connect(f"gpt-oss-{settings.name}")
    runs = {
        stage: client.search_runs(
            [experiment],
            filter_string=f"tags.`gptoss.fingerprint` = '{found.fingerprint}' and attributes.status = 'FINISHED'",
            order_by=["attributes.start_time DESC"],
            max_results=1,
        )
        for stage, found in recorded.items()
    }
    return {stage: found[0] for stage, found in runs.items() if found}


def _champions(settings: Settings) -> list[dict[str, Any]]:
    """The comparison with the champions; none where the registry or the samples cannot be read."""
    try:
        return champion.compare(settings)
    except Exception as error:  # as above: the report never makes a run fail
        print(f"not compared with the champions: {error}", file=sys.stderr)
        return []


def describe(cluster: str) -> str:
    """Processes, device and mesh of a cluster; empty when its file is not in this checkout."""
    try:
        config = load_cluster(cluster) if cluster else None
    except PipelineError:
        config = None
    if config is None:
        return ""
    mesh = config.mesh
    return (
        f"{config.nodes * config.processes_per_node} processes on {config.device} for training, "
        f"pipeline {mesh.pp} × replicas {mesh.dp_replicate} × shards {mesh.dp_shard}"
    )


def _is_of_earlier_report(name: str, entry: dict[str, Any]) -> bool:
    """Whether a lock entry belongs to an earlier run: while the report is made, `dvc.lock` still records the previous
    report, and the registration of the models that it described."""
    hashes = {item["path"]: item.get("md5") for kind in ("deps", "outs") for item in entry.get(kind, [])}
    facts = paths.REPORTS / "facts.json"
    recorded = hashes.get(facts.as_posix())
    if recorded is None or not facts.exists():
        return name == "report"
    # DVC's own hash of a file, so MD5.
    return bool(recorded != hashlib.md5(facts.read_bytes(), usedforsecurity=False).hexdigest())


def _position(stage: str) -> tuple[int, str]:
    # `publish@base` before `instruct` and `publish@instruct` after it: a plain sort by name would mix them.
    for position, name in enumerate(ORDER):
        if stage == name or stage.startswith(f"{name}@"):
            return position, stage
    return len(ORDER), stage


def _stage(name: str, entry: dict[str, Any], run: Run | None) -> Stage:
    inputs, outputs = (
        {item["path"]: str(item.get("md5", "")) for item in entry.get(kind, [])} for kind in ("deps", "outs")
    )
    return Stage(name, inputs, outputs, run)


def _summarised_metrics(client: Any, run: Any) -> dict[str, float]:
    """The metrics of a run: the last value of each, but the median of a speed (the last step may be slow) and the
    maximum of memory."""
    metrics: dict[str, float] = dict(run.data.metrics)
    for name in metrics:
        if name.endswith("_per_second") or "memory" in name:
            values = [point.value for point in client.get_metric_history(run.info.run_id, name)]
            metrics[name] = statistics.median(values) if name.endswith("_per_second") else max(values)
    return metrics


def _run(run: Any, metrics: dict[str, float]) -> Run:
    uri = mlflow_client.tracking_uri()
    page = f"{uri.rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    return Run(
        run_id=str(run.info.run_id),
        url=page if uri.startswith(("http://", "https://")) else None,  # a database has no page to link to
        started=started.strftime("%Y-%m-%d %H:%M:%S UTC"),
        seconds=(run.info.end_time - run.info.start_time) / 1000,
        metrics=metrics,
        tags=dict(run.data.tags),
    )
