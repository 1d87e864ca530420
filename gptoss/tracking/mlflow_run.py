"""One MLflow run per stage run, with tags that lead to its code, its data and its machine.

An unreachable MLflow never stops a stage and never loses anything: all calls go through a queue on disk (`outbox.py`).
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gptoss.config.cluster import cluster_name
from gptoss.core import paths
from gptoss.core.errors import Preempted
from gptoss.core.progress import print_status
from gptoss.tracking import mlflow_client
from gptoss.tracking.outbox import Entry, Leftovers, Outbox
from gptoss.tracking.provenance import Dependencies, git_state

PARENT_RUN = "GPTOSS_PARENT_RUN"
"""Environment variable: the MLflow run of the pipeline run, under which stage runs are nested."""
FLOW_RUN = "GPTOSS_FLOW_RUN"
"""Environment variable: the id of the Prefect flow run."""
OUTBOXES = paths.RUNS / "outbox"
# How long a stage waits for its outbox while another stage sends what an earlier attempt has left in it. Longer than
# the HOLD_SECONDS of the outbox plus one slow batch.
LOCK_SECONDS = 15.0
# MLflow's limits for one log_batch call and for the value of a parameter.
METRICS_PER_CALL = 1000
PARAM_CHARACTERS = 6000


class StageRun:
    """What a stage can log. This base class discards everything: for tests and runs without tracking."""

    def __init__(self, stage: str, fingerprint: str = "untracked") -> None:
        self.stage = stage
        self.fingerprint = fingerprint

    @property
    def state(self) -> Path:
        """Folder for the resume state of exactly these inputs; `run_stage` removes it when the stage has finished."""
        return paths.RUNS / f"{self.stage.replace('@', '-')}-{self.fingerprint[:16]}"

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log configuration values, which MLflow does not let later attempts change."""

    def log_metrics(
        self, values: Mapping[str, float], step: int | None = None, *, at: float | None = None, cursor: Any = None
    ) -> None:
        """Log numbers, at a step of a curve or once. `at`: time of measurement, in seconds of the epoch, by default
        now. `cursor`: a JSON value for `last_cursor`."""

    def last_cursor(self) -> Any:
        """The last `cursor` that any attempt at these inputs has logged; None without one."""
        return None

    def set_tags(self, values: Mapping[str, str]) -> None:
        """Set tags; a later value replaces an earlier one."""

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Log a copy of a small file (plots, reports, samples; never weights)."""

    def log_table(self, name: str, columns: Mapping[str, list[Any]]) -> None:
        """Log a table that MLflow's pages can browse, filter and compare between runs."""


class MlflowRun(StageRun):
    """A stage run in MLflow."""

    def __init__(self, stage: str, fingerprint: str, outbox: Outbox) -> None:
        super().__init__(stage, fingerprint)
        self.outbox = outbox

    @property
    def run_id(self) -> str | None:
        """Id of the MLflow run; None while MLflow is unreachable."""
        self.outbox.wait_until_sent()
        return self.outbox.run_id

    def reached(self) -> bool:
        """Wait a few seconds until MLflow has everything that was logged so far; False if it has not."""
        return self.outbox.wait_until_sent()

    @property
    def client(self) -> Any:
        """An `MlflowClient`, for queries and uploads that cannot go through the outbox."""
        return mlflow_client.new_client()

    def log_params(self, values: Mapping[str, Any]) -> None:
        self.outbox.put({"params": {key: str(value)[:PARAM_CHARACTERS] for key, value in values.items()}})

    def log_metrics(
        self, values: Mapping[str, float], step: int | None = None, *, at: float | None = None, cursor: Any = None
    ) -> None:
        milliseconds = int(1000 * (time.time() if at is None else at))
        numbers = {key: float(value) for key, value in values.items()}
        # In one line with the metrics, so both survive a kill or neither does. The key is that of earlier outboxes.
        self.outbox.put({"metrics": numbers, "step": step or 0, "at": milliseconds, "mark": cursor})

    def last_cursor(self) -> Any:
        cursors = [entry["mark"] for entry in self.outbox.entries() if entry.get("mark") is not None]
        return cursors[-1] if cursors else None

    def set_tags(self, values: Mapping[str, str]) -> None:
        self.outbox.put({"tags": {key: str(value) for key, value in values.items()}})

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        # A copy, because the stage may rewrite or remove the file before MLflow is reachable.
        self.outbox.files.mkdir(exist_ok=True)
        copy = shutil.copyfile(path, self.outbox.files / path.name)
        self.outbox.put({"artifact": str(copy), "folder": folder})

    def log_table(self, name: str, columns: Mapping[str, list[Any]]) -> None:
        # The format of `MlflowClient.log_table`, which cannot be used here: it needs a reachable MLflow.
        self.outbox.files.mkdir(exist_ok=True)
        file = self.outbox.files / Path(name).name
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        file.write_text(json.dumps({"columns": list(columns), "data": rows}), encoding="utf-8")
        self.outbox.put({"artifact": str(file), "folder": str(Path(name).parent)})
        self.set_tags({"mlflow.loggedArtifacts": json.dumps([{"path": name, "type": "table"}])})

    def finish(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        self.outbox.put({"status": status, "at": int(1000 * time.time())})
        # Only a finished run's entries are removed: the next attempt at the same inputs needs the others' cursors.
        if not self.outbox.close(remove=status == "FINISHED"):
            uri = mlflow_client.tracking_uri()
            print_status(f"MLflow at {uri} is unreachable: the next stage sends what is left")


@contextmanager
def stage_run(stage: str, experiment: str, dependencies: Dependencies) -> Iterator[StageRun]:
    """Open the MLflow run of a stage, or continue the unfinished run of the same inputs (an attempt that was killed,
    stopped or failed)."""
    fingerprint = dependencies.fingerprint
    try:
        outbox = _open_outbox(OUTBOXES / f"{stage.replace('@', '-')}-{fingerprint[:16]}.jsonl")
    except BlockingIOError:
        held = f"another process has held the log of {stage} of the same inputs for {LOCK_SECONDS:g} s"
        print_status(f"{held}: this attempt is not tracked")
        yield StageRun(stage, fingerprint)
        return
    run = MlflowRun(stage, fingerprint, outbox)
    begin = {"experiment": experiment, "stage": stage, "parent": os.environ.get(PARENT_RUN)}
    outbox.put({"begin": begin, "fingerprint": fingerprint})
    run.set_tags(_tags(stage, dependencies))
    run.log_params(dependencies.params)
    # After `begin` of this run: a stage's own entries have priority over those that earlier ones have left.
    leftovers = Leftovers(outbox, send)
    try:
        yield run
    # KILLED is MLflow's word for a run that somebody stopped; such a run is continued, as a failed one is.
    except (KeyboardInterrupt, Preempted):
        run.finish("KILLED")
        raise
    except BaseException:
        run.finish("FAILED")
        raise
    finally:
        leftovers.finish()
    run.finish("FINISHED")


def _open_outbox(file: Path) -> Outbox:
    """Open an outbox. Raises `BlockingIOError` when another process still has it open after `LOCK_SECONDS`."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return Outbox(file, send)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def send(entries: list[Entry], run_id: str | None) -> str | None:
    """Send entries of an outbox to MLflow; returns the id of the run that the entries after them belong to."""
    mlflow_client.load_mlflow()
    from mlflow.entities import Metric

    if "begin" in entries[0]:
        return _begin(entries[0]["begin"], entries[0]["fingerprint"])
    client = mlflow_client.new_client()
    # Neighbouring metrics share calls: a training step logs one entry, and a call per entry could not keep up.
    for are_metrics, group in itertools.groupby(entries, lambda entry: "metrics" in entry):
        if not are_metrics:
            for entry in group:
                _send_one(client, run_id, entry)
            continue
        metrics = [Metric(key, value, e["at"], e["step"]) for e in group for key, value in e["metrics"].items()]
        for start in range(0, len(metrics), METRICS_PER_CALL):
            client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_CALL])
    return run_id


def _send_one(client: Any, run_id: str | None, entry: Entry) -> None:
    from mlflow.entities import Param, RunTag

    if "params" in entry:
        client.log_batch(run_id, params=[Param(*item) for item in entry["params"].items()])
    if "tags" in entry:
        client.log_batch(run_id, tags=[RunTag(*item) for item in entry["tags"].items()])
    # The file is missing when a person has removed it; the rest of the run is still worth sending.
    if "artifact" in entry and Path(entry["artifact"]).exists():
        client.log_artifact(run_id, entry["artifact"], entry["folder"])
    if "status" in entry:
        client.set_terminated(run_id, entry["status"], entry["at"])


def _begin(begin: dict[str, Any], fingerprint: str) -> str:
    """Create the MLflow run, or continue the unfinished one with this fingerprint; returns its id."""
    client, experiment_id = mlflow_client.connect(begin["experiment"])
    found = client.search_runs(
        [experiment_id],
        filter_string=f"tags.`gptoss.fingerprint` = '{fingerprint}' and attributes.status != 'FINISHED'",
        max_results=1,
    )
    if found:
        run_id = str(found[0].info.run_id)
        client.update_run(run_id, status="RUNNING")
        return run_id
    # These two tags are set with the run itself: a process killed before `_tags` is sent must still be found above.
    tags = {"gptoss.fingerprint": fingerprint, "gptoss.stage": begin["stage"]}
    if begin["parent"]:
        tags["mlflow.parentRunId"] = begin["parent"]
    return str(client.create_run(experiment_id, run_name=begin["stage"], tags=tags).info.run_id)


def _tags(stage: str, dependencies: Dependencies) -> dict[str, str]:
    commit, dirty = git_state()
    tags = {
        "gptoss.stage": stage,
        "gptoss.fingerprint": dependencies.fingerprint,
        "gptoss.cluster": cluster_name(),
        "gptoss.git_commit": commit,
        "gptoss.git_dirty": str(dirty).lower(),
    }
    if os.environ.get(FLOW_RUN):
        tags["gptoss.flow_run"] = os.environ[FLOW_RUN]
    return tags | {f"dep/{path}": md5 for path, md5 in dependencies.hashes.items()}
