"""Connections to MLflow."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from gptoss.core import paths

_IMPORT_LOCK = threading.Lock()


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or SQLite in the checkout."""
    # The timeout is that of sqlite3: a writer waits up to a minute for another stage's transaction, instead of 5 s.
    return os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db?timeout=60"


def load_mlflow() -> None:
    """Import MLflow completely, before any of its submodules.

    MLflow's modules import each other in a cycle. When two threads start with different submodules at the same time
    (the outbox sends in a thread of its own), one of them sees a partly initialised module.
    """
    with _IMPORT_LOCK:
        import mlflow  # noqa: F401


def new_client() -> Any:
    """An `MlflowClient` for `tracking_uri()`, which also serves as the model registry."""
    load_mlflow()
    from mlflow import MlflowClient

    uri = tracking_uri()
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def connect(experiment: str) -> tuple[Any, str]:
    """An `MlflowClient` and the id of the experiment, which is created if it does not exist."""
    load_mlflow()
    from filelock import FileLock
    from mlflow.exceptions import MlflowException

    paths.RUNS.mkdir(exist_ok=True)
    # Serialised between processes: the first connection creates the SQLite schema, and two at once fail.
    with FileLock(paths.RUNS / "mlflow.lock"):
        client = new_client()
        found = client.get_experiment_by_name(experiment)
        if found is not None:
            return client, found.experiment_id
        # A server chooses the artifact location itself. With SQLite, MLflow's default is relative to the working
        # directory of whoever reads it.
        local = tracking_uri().startswith("sqlite:")
        root = Path("mlruns").resolve().as_uri() if local else None
        try:
            return client, client.create_experiment(experiment, artifact_location=root)
        except MlflowException:  # another machine has created it meanwhile
            return client, client.get_experiment_by_name(experiment).experiment_id
