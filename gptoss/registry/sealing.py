"""Seal the lineage of a registered version: store what `lineage.py` needs to trace it to the raw files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gptoss.tracking import provenance
from gptoss.tracking.mlflow_run import MlflowRun

# More stage runs than an experiment has in practice; MLflow returns the latest ones.
MAX_RUNS = 5000


def seal_lineage(run: MlflowRun) -> None:
    """Tag the MLflow run of each stage with the output hashes of `dvc.lock`, and store `dvc.lock` and `params.yaml`
    with this run. A stage that DVC restored from a cache has no run here, and is not tagged."""
    runs = runs_by_fingerprint(run.client, run.client.get_run(run.run_id).info.experiment_id)
    for stage, entry in provenance.lock_entries().items():
        dependencies = provenance.recorded(stage)
        stage_run = runs.get(dependencies.fingerprint) if dependencies else None
        if stage_run is not None:
            for output in entry.get("outs", []):
                run.client.set_tag(stage_run.info.run_id, f"out/{output['path']}", output["md5"])
    # The lock names every hash of the chain; the parameters say how the outputs were made.
    for name in ("dvc.lock", "params.yaml"):
        run.artifact(Path(name), "lineage")


def runs_by_fingerprint(client: Any, experiment: str) -> dict[str | None, Any]:
    """Return the runs of an experiment by the fingerprint of their stage's dependencies; the latest one wins."""
    # MLflow returns the latest run first; a dictionary keeps the last value of a key.
    runs = client.search_runs([experiment], max_results=MAX_RUNS)
    return {run.data.tags.get("gptoss.fingerprint"): run for run in reversed(runs)}
