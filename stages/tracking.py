"""MLflow as observer: one run a stage, with tags that lead from the run to its code, data and place.

An unreachable MLflow never stops a stage: what cannot be logged is said once and the work goes on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages import paths
from stages.cluster import cluster_name
from stages.errors import Preempted
from stages.provenance import Dependencies

PARENT_RUN = "GPTOSS_PARENT_RUN"
"""Environment: the MLflow run of the pipeline run, under which stage runs nest."""
FLOW_RUN = "GPTOSS_FLOW_RUN"
"""Environment: the id of the Prefect flow run."""


class StageRun:
    """What a stage can report. This base class keeps nothing: it serves tests and runs without tracking."""

    run_id: str | None = None

    def __init__(self, stage: str, fingerprint: str = "untracked") -> None:
        self.stage = stage
        self.fingerprint = fingerprint

    @property
    def state(self) -> Path:
        """Folder for resume state of exactly these inputs; removed by `run_stage` when the stage is done."""
        return paths.RUNS / f"{self.stage.replace('@', '-')}-{self.fingerprint[:16]}"

    def params(self, values: Mapping[str, Any]) -> None:
        """Log configuration values once."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log measured numbers, at a step of a curve or once."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags on the run."""

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a small file (plots, reports, samples; never weights)."""


class MlflowRun(StageRun):
    """A stage run in MLflow."""

    def __init__(self, stage: str, fingerprint: str, client: Any, run_id: str) -> None:
        super().__init__(stage, fingerprint)
        self.client = client
        self.run_id = run_id
        self._failed = False

    def params(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        entities = [Param(key, str(value)[:6000]) for key, value in values.items()]
        self._observe(lambda: self.client.log_batch(self.run_id, params=entities))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entities = [Metric(key, float(value), now, step or 0) for key, value in values.items()]
        self._observe(lambda: self.client.log_batch(self.run_id, metrics=entities))

    def tags(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        entities = [RunTag(key, str(value)) for key, value in values.items()]
        self._observe(lambda: self.client.log_batch(self.run_id, tags=entities))

    def artifact(self, path: Path, folder: str | None = None) -> None:
        self._observe(lambda: self.client.log_artifact(self.run_id, str(path), folder))

    def finish(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        self._observe(lambda: self.client.set_terminated(self.run_id, status))

    def _observe(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # MLflow raises its own, SQLAlchemy's and requests' errors alike
            if not self._failed:
                print(f"MLflow did not take what {self.stage} logged ({error}); the stage goes on", file=sys.stderr)
            self._failed = True


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or SQLite in the checkout (waiting up to a minute for another writer)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db?timeout=60"


def connect(experiment: str) -> tuple[Any, str]:
    """An `MlflowClient` and the id of the experiment, made when missing. Serialised, since the first
    connection creates the SQLite schema."""
    from filelock import FileLock
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    paths.RUNS.mkdir(exist_ok=True)
    uri = tracking_uri()
    local = uri.startswith("sqlite:")
    with FileLock(paths.RUNS / "mlflow.lock"):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        found = client.get_experiment_by_name(experiment)
        if found is not None:
            return client, found.experiment_id
        try:
            root = Path("mlruns").resolve().as_uri() if local else None
            return client, client.create_experiment(experiment, artifact_location=root)
        except MlflowException:  # made by another process since
            return client, client.get_experiment_by_name(experiment).experiment_id


@contextmanager
def stage_run(stage: str, experiment: str, dependencies: Dependencies) -> Iterator[StageRun]:
    """Open the MLflow run of a stage. An unfinished run of the same inputs (a killed attempt) is continued."""
    run = _open(stage, experiment, dependencies)
    if not isinstance(run, MlflowRun):
        yield run
        return
    try:
        yield run
    except (KeyboardInterrupt, Preempted):
        run.finish("KILLED")
        raise
    except BaseException:
        run.finish("FAILED")
        raise
    run.finish("FINISHED")


def _open(stage: str, experiment: str, dependencies: Dependencies) -> StageRun:
    fingerprint = dependencies.fingerprint
    try:
        client, experiment_id = connect(experiment)
        run_id = _unfinished(client, experiment_id, fingerprint) or _create(client, experiment_id, stage)
        run = MlflowRun(stage, fingerprint, client, run_id)
    except Exception as error:
        print(f"MLflow at {tracking_uri()} is not reachable ({error}); {stage} goes on without it", file=sys.stderr)
        return StageRun(stage, fingerprint)
    run.tags(_tags(stage, fingerprint, dependencies))
    run.params({f"{key}": value for key, value in dependencies.params.items()})
    return run


def _unfinished(client: Any, experiment_id: str, fingerprint: str) -> str | None:
    found = client.search_runs(
        [experiment_id],
        filter_string=f"tags.`gptoss.fingerprint` = '{fingerprint}' and attributes.status = 'RUNNING'",
        max_results=1,
    )
    return found[0].info.run_id if found else None


def _create(client: Any, experiment_id: str, stage: str) -> str:
    tags = {"mlflow.parentRunId": os.environ[PARENT_RUN]} if os.environ.get(PARENT_RUN) else {}
    return str(client.create_run(experiment_id, run_name=stage, tags=tags).info.run_id)


def _tags(stage: str, fingerprint: str, dependencies: Dependencies) -> dict[str, str]:
    commit, dirty = git_state()
    tags = {
        "gptoss.stage": stage,
        "gptoss.fingerprint": fingerprint,
        "gptoss.cluster": cluster_name(),
        "gptoss.git_commit": commit,
        "gptoss.git_dirty": str(dirty).lower(),
    }
    if os.environ.get(FLOW_RUN):
        tags["gptoss.flow_run"] = os.environ[FLOW_RUN]
    return tags | {f"dep/{path}": md5 for path, md5 in dependencies.hashes.items()}


def git_state() -> tuple[str, bool]:
    """The commit of the checkout and whether tracked files differ from it (`dvc.lock`, which the run itself
    writes, aside)."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True
    return commit, bool(changed.strip())
