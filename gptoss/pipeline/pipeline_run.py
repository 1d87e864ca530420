"""What MLflow observed of the pipeline: the parent run of a pipeline run, and the run behind each stage's outputs."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

from gptoss.config.settings import Settings, load_settings
from gptoss.tracking import mlflow_run, provenance


@dataclass(frozen=True)
class Parent:
    """The MLflow run under which the stage runs of one pipeline run nest; no id when MLflow was not reachable."""

    client: Any
    run_id: str | None


NO_PARENT = Parent(None, None)


def experiment_name(settings: Settings) -> str:
    """One MLflow experiment a model."""
    return f"gpt-oss-{settings.name}"


def open_parent(settings: Settings, name: str) -> Parent:
    """Start the parent run; without MLflow the pipeline runs all the same."""
    try:
        client, experiment = mlflow_run.connect(experiment_name(settings))
        commit, dirty = mlflow_run.git_state()
        tags = {"gptoss.git_commit": commit, "gptoss.git_dirty": str(dirty).lower()}
        return Parent(client, client.create_run(experiment, run_name=name, tags=tags).info.run_id)
    except Exception as error:
        print(f"MLflow at {mlflow_run.tracking_uri()} is not reachable ({error}); going on without it", file=sys.stderr)
        return NO_PARENT


def close_parent(parent: Parent, *, failed: bool) -> None:
    """End the parent run; an MLflow that went away since leaves it open and fails nothing."""
    if parent.client is None:
        return
    try:
        parent.client.set_terminated(parent.run_id, "FAILED" if failed else "FINISHED")
    except Exception as error:
        print(
            f"MLflow at {mlflow_run.tracking_uri()} is not reachable ({error}): the run of the pipeline stays open there",
            file=sys.stderr,
        )


def stage_runs(stages: list[str]) -> dict[str, Any]:
    """The MLflow run that made each stage's present outputs: the newest finished run with the fingerprint that
    `dvc.lock` records. Stages without one are left out."""
    try:
        client, experiment = mlflow_run.connect(experiment_name(load_settings()))
        runs = client.search_runs([experiment], "attributes.status = 'FINISHED'", max_results=5000)
    except Exception as error:
        print(f"MLflow at {mlflow_run.tracking_uri()} is not reachable ({error})", file=sys.stderr)
        return {}
    newest: dict[str, Any] = {}
    for run in runs:  # newest first
        newest.setdefault(run.data.tags.get("gptoss.fingerprint", ""), run)
    recorded = {stage: provenance.recorded(stage) for stage in stages}
    return {
        stage: newest[dependencies.fingerprint]
        for stage, dependencies in recorded.items()
        if dependencies is not None and dependencies.fingerprint in newest
    }


def mlflow_url() -> str:
    """Where the MLflow pages are, or will be after `make ui`."""
    uri = mlflow_run.tracking_uri()
    return uri if uri.startswith("http") else os.environ.get("GPTOSS_MLFLOW_URL", "http://127.0.0.1:5000")


def run_url(run: Any) -> str:
    """The page of an MLflow run."""
    return f"{mlflow_url()}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


def stage_links(stages: list[str]) -> dict[str, str]:
    """The page of the MLflow run behind each stage."""
    return {stage: run_url(run) for stage, run in stage_runs(stages).items()}
