"""MLflow as observer: one run a stage, with tags that lead from the run to its code, data and place.

An MLflow that is away never stops a stage, and misses nothing: all goes through an outbox on the disk (`outbox.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gptoss.config.cluster import cluster_name
from gptoss.core import paths
from gptoss.core.errors import Preempted
from gptoss.tracking.outbox import Entry, Leftovers, Outbox
from gptoss.tracking.provenance import Dependencies

PARENT_RUN = "GPTOSS_PARENT_RUN"
"""Environment: the MLflow run of the pipeline run, under which stage runs nest."""
FLOW_RUN = "GPTOSS_FLOW_RUN"
"""Environment: the id of the Prefect flow run."""
OUTBOXES = paths.RUNS / "outbox"
LOCK_SECONDS = 15.0
"""How long a stage waits for its outbox, which another stage may be sending from."""
METRICS_A_CALL = 900
"""MLflow takes a thousand."""


class StageRun:
    """What a stage can report. This base class keeps nothing: it serves tests and runs without tracking."""

    def __init__(self, stage: str, fingerprint: str = "untracked") -> None:
        self.stage = stage
        self.fingerprint = fingerprint

    @property
    def state(self) -> Path:
        """Folder for resume state of exactly these inputs; removed by `run_stage` when the stage is done."""
        return paths.RUNS / f"{self.stage.replace('@', '-')}-{self.fingerprint[:16]}"

    def params(self, values: Mapping[str, Any]) -> None:
        """Log configuration values once."""

    def metrics(
        self, values: Mapping[str, float], step: int | None = None, *, at: float | None = None, mark: Any = None
    ) -> None:
        """Log measured numbers, at a step of a curve or once; `at` is when they were measured (seconds of the epoch,
        now when left out), `mark` is what `last_mark` shall return."""

    def last_mark(self) -> Any:
        """The `mark` of the last metrics that an attempt at these inputs has logged; None when there is none."""
        return None

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags on the run."""

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a small file (plots, reports, samples; never weights)."""

    def table(self, name: str, columns: Mapping[str, list[Any]]) -> None:
        """Keep a table that the page of the run can browse, filter and compare with those of other runs."""


class MlflowRun(StageRun):
    """A stage run in MLflow."""

    def __init__(self, stage: str, fingerprint: str, outbox: Outbox) -> None:
        super().__init__(stage, fingerprint)
        self.outbox = outbox

    @property
    def run_id(self) -> str | None:
        """Of the MLflow run; None while MLflow has not taken it."""
        self.outbox.wait_until_sent()
        return self.outbox.run_id

    def reached(self) -> bool:
        """Whether MLflow has taken all that was logged so far; waits for it a while."""
        return self.outbox.wait_until_sent()

    @property
    def client(self) -> Any:
        """For what has to be asked and not only told."""
        return _client()

    def params(self, values: Mapping[str, Any]) -> None:
        self.outbox.put({"params": {key: str(value)[:6000] for key, value in values.items()}})

    def metrics(
        self, values: Mapping[str, float], step: int | None = None, *, at: float | None = None, mark: Any = None
    ) -> None:
        when = int(1000 * (time.time() if at is None else at))
        numbers = {key: float(value) for key, value in values.items()}
        self.outbox.put({"metrics": numbers, "step": step or 0, "at": when, "mark": mark})

    def last_mark(self) -> Any:
        marks = [entry["mark"] for entry in self.outbox.entries() if entry.get("mark") is not None]
        return marks[-1] if marks else None

    def tags(self, values: Mapping[str, str]) -> None:
        self.outbox.put({"tags": {key: str(value) for key, value in values.items()}})

    def artifact(self, path: Path, folder: str | None = None) -> None:
        kept = self.outbox.files / path.name
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, kept)
        self.outbox.put({"artifact": str(kept), "folder": folder})

    def table(self, name: str, columns: Mapping[str, list[Any]]) -> None:
        # As `MlflowClient.log_table` writes it; through the outbox, so that it is kept while MLflow is away.
        kept = self.outbox.files / Path(name).name
        kept.parent.mkdir(exist_ok=True)
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        kept.write_text(json.dumps({"columns": list(columns), "data": rows}), encoding="utf-8")
        self.outbox.put({"artifact": str(kept), "folder": str(Path(name).parent)})
        self.tags({"mlflow.loggedArtifacts": json.dumps([{"path": name, "type": "table"}])})

    def finish(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        self.outbox.put({"status": status, "at": int(1000 * time.time())})
        if not self.outbox.close(remove=status == "FINISHED"):
            print(f"MLflow at {tracking_uri()} is away: the next stage tells it the rest", file=sys.stderr)


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or SQLite in the checkout (waiting up to a minute for another writer)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db?timeout=60"


_LOADING = threading.Lock()


def load_mlflow() -> None:
    """Import MLflow, whole, before any part of it. Its modules import one another in a circle: of two threads that
    begin with different ones at the same time (the outbox sends in a thread of its own), one would see them half made.
    """
    with _LOADING:
        import mlflow  # noqa: F401


def _client() -> Any:
    load_mlflow()
    from mlflow import MlflowClient

    uri = tracking_uri()
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def connect(experiment: str) -> tuple[Any, str]:
    """An `MlflowClient` and the id of the experiment, made when missing. Serialised, since the first
    connection creates the SQLite schema."""
    load_mlflow()
    from filelock import FileLock
    from mlflow.exceptions import MlflowException

    paths.RUNS.mkdir(exist_ok=True)
    local = tracking_uri().startswith("sqlite:")
    with FileLock(paths.RUNS / "mlflow.lock"):
        client = _client()
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
    """Open the MLflow run of a stage. An unfinished run of the same inputs (an attempt that was killed, stopped or
    failed) is continued."""
    fingerprint = dependencies.fingerprint
    try:
        run = MlflowRun(stage, fingerprint, _open(OUTBOXES / f"{stage.replace('@', '-')}-{fingerprint[:16]}.jsonl"))
    except BlockingIOError:
        print(
            f"another process has held the log of {stage} of the same inputs for {LOCK_SECONDS:g} s: "
            "this attempt is not tracked",
            file=sys.stderr,
        )
        yield StageRun(stage, fingerprint)
        return
    begin = {"experiment": experiment, "stage": stage, "parent": os.environ.get(PARENT_RUN)}
    run.outbox.put({"begin": begin, "fingerprint": fingerprint})
    run.tags(_tags(stage, fingerprint, dependencies))
    run.params({f"{key}": value for key, value in dependencies.params.items()})
    leftovers = Leftovers(run.outbox, send)
    try:
        yield run
    except (KeyboardInterrupt, Preempted):
        run.finish("KILLED")
        raise
    except BaseException:
        run.finish("FAILED")
        raise
    finally:
        leftovers.finish()
    run.finish("FINISHED")


def _open(file: Path) -> Outbox:
    """An outbox, waited for `LOCK_SECONDS`. Raises `BlockingIOError` when another process still has it open then."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return Outbox(file, send)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def send(entries: list[Entry], run_id: str | None) -> str | None:
    """Tell MLflow; returns the id of the run that later entries are about."""
    load_mlflow()
    from mlflow.entities import Metric, Param, RunTag

    if "begin" in entries[0]:
        return _begin(entries[0]["begin"], entries[0]["fingerprint"])
    client = _client()
    metrics: list[Any] = []
    for entry in [*entries, {}]:
        metrics += [Metric(key, value, entry["at"], entry["step"]) for key, value in entry.get("metrics", {}).items()]
        if metrics and (not entry.get("metrics") or len(metrics) > METRICS_A_CALL):
            client.log_batch(run_id, metrics=metrics)
            metrics = []
        if "params" in entry:
            client.log_batch(run_id, params=[Param(*item) for item in entry["params"].items()])
        if "tags" in entry:
            client.log_batch(run_id, tags=[RunTag(*item) for item in entry["tags"].items()])
        if "artifact" in entry and Path(entry["artifact"]).exists():
            client.log_artifact(run_id, entry["artifact"], entry["folder"])
        if "status" in entry:
            client.set_terminated(run_id, entry["status"], entry["at"])
    return run_id


def _begin(begin: dict[str, Any], fingerprint: str) -> str:
    client, experiment_id = connect(begin["experiment"])
    found = client.search_runs(
        [experiment_id],
        filter_string=f"tags.`gptoss.fingerprint` = '{fingerprint}' and attributes.status != 'FINISHED'",
        max_results=1,
    )
    if found:
        run_id = str(found[0].info.run_id)
        client.update_run(run_id, status="RUNNING")
        return run_id
    tags = {"gptoss.fingerprint": fingerprint, "gptoss.stage": begin["stage"]}
    if begin["parent"]:
        tags["mlflow.parentRunId"] = begin["parent"]
    return str(client.create_run(experiment_id, run_name=begin["stage"], tags=tags).info.run_id)


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
