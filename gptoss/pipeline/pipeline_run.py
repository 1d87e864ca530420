"""The MLflow side of a pipeline run: the parent run that its stage runs nest under, and links to the run of each stage.

MLflow only observes: when it does not answer, the pipeline continues with a message.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

from gptoss.config.settings import Settings, load_settings
from gptoss.report.run_history import find_runs
from gptoss.tracking import mlflow_client, provenance


@dataclass(frozen=True)
class Parent:
    """The MLflow run under which the stage runs of one pipeline run nest; no id when MLflow did not answer."""

    client: Any
    run_id: str | None


NO_PARENT = Parent(None, None)


def open_parent(settings: Settings, name: str) -> Parent:
    try:
        client, experiment = mlflow_client.connect(f"gpt-oss-{settings.name}")
        commit, dirty = provenance.git_state()
        # The tags that stage runs carry too: a pipeline run is found by commit like its stages.
        tags = {"gptoss.git_commit": commit, "gptoss.git_dirty": str(dirty).lower()}
        return Parent(client, client.create_run(experiment, run_name=name, tags=tags).info.run_id)
    except Exception as error:  # MLflow lets SQLAlchemy's and requests' errors through besides its own
        _warn(error, "continuing without it")
        return NO_PARENT


def close_parent(parent: Parent, *, failed: bool) -> None:
    """End the parent run. An MLflow that stopped answering since leaves it open."""
    if parent.client is None:
        return
    try:
        parent.client.set_terminated(parent.run_id, "FAILED" if failed else "FINISHED")
    except Exception as error:
        _warn(error, "the run of the pipeline stays open there")


def stage_runs(stages: list[str]) -> dict[str, Any]:
    """The MLflow run that made each stage's present outputs. Stages without one are left out."""
    try:
        return find_runs(load_settings(), stages)
    except Exception as error:
        _warn(error, "its runs are not linked")
        return {}


def _warn(error: Exception, consequence: str) -> None:
    print(f"MLflow at {mlflow_client.tracking_uri()} is not reachable ({error}): {consequence}", file=sys.stderr)


def run_url(run: Any) -> str:
    """The page of an MLflow run: on the tracking server or, for a database in the checkout, on that of `gptoss ui`."""
    uri = mlflow_client.tracking_uri()
    base = uri if uri.startswith("http") else os.environ.get("GPTOSS_MLFLOW_URL", "http://127.0.0.1:5000")
    return f"{base}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


def stage_links(stages: list[str]) -> dict[str, str]:
    """The page of the MLflow run behind each stage."""
    return {stage: run_url(run) for stage, run in stage_runs(stages).items()}
