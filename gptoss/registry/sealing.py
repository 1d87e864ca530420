"""The seal of a registered version, which traces it to the raw files: `register` writes it, `lineage` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptoss.code_identity.stages import FOLDER
from gptoss.core.errors import UserError
from gptoss.registry.versions import NOT_FOUND_CODES, registry_errors
from gptoss.tracking import provenance
from gptoss.tracking.mlflow_client import connect, tracking_uri
from gptoss.tracking.mlflow_run import MlflowRun

# Folder of the artifacts of `register`.
ARTIFACTS = "lineage"
# More stage runs than an experiment has in practice; MLflow returns the latest ones.
MAX_RUNS = 5000


@dataclass(frozen=True)
class SealedVersion:
    """A registry version, the stages of its `dvc.lock`, and the MLflow run of each stage."""

    name: str
    version: str
    folder: str
    source: str
    """URI of the version's files in MLflow."""
    signing_key: str
    """Fingerprint of the key that signed the folder when it was registered; empty when it was not signed."""
    md5: str
    stages: dict[str, Any]
    """Entries of `dvc.lock` by stage name."""
    runs: dict[str, Any]
    """MLflow runs by stage name; a stage that DVC restored from a cache has none."""

    def producers(self, path: str) -> list[str]:
        """Return the stages whose outputs are `path` or lie below it."""
        return [
            stage
            for stage, entry in self.stages.items()
            if any(out["path"] == path or out["path"].startswith(path + "/") for out in entry.get("outs", []))
        ]

    def code_digests(self, stage: str) -> dict[str, str]:
        """Return the digest of each module that the code of a stage consists of."""
        # DVC records values of parameter files by the file's path; those of code lie in a folder of their own.
        folder = FOLDER.as_posix() + "/"
        files = [values for path, values in self.stages[stage].get("params", {}).items() if path.startswith(folder)]
        return {module: digest for values in files for module, digest in values.items()}


def seal_lineage(run: MlflowRun) -> None:
    """Tag the MLflow run of each stage with the output hashes of `dvc.lock`, and store `dvc.lock` and `params.yaml`
    with this run. A stage that DVC restored from a cache has no run here, and is not tagged."""
    experiment = run.client.get_run(run.run_id).info.experiment_id
    for stage, stage_run in _runs(run.client, experiment, provenance.LOCK).items():
        for output in provenance.lock_entries()[stage].get("outs", []):
            run.client.set_tag(stage_run.info.run_id, f"out/{output['path']}", output["md5"])
    # The lock names every hash of the chain; the parameters say how the outputs were made.
    for name in (provenance.LOCK, Path("params.yaml")):
        run.log_artifact(name, ARTIFACTS)


def load_sealed(model: str) -> SealedVersion:
    """Find `NAME@ALIAS` or `NAME/VERSION` in the registry, with what was sealed with it.

    Errors: `UserError` when there is no such version; `ClusterError` when MLflow does not answer.
    """
    from mlflow.artifacts import download_artifacts

    name, _, alias = model.partition("@")
    name, _, number = name.partition("/")
    # MLflow itself writes `models:/NAME@ALIAS` and `models:/NAME/VERSION`.
    if not alias and not number:
        raise UserError(f"{model!r} names no version", "write NAME@ALIAS or NAME/VERSION, e.g. gpt-oss-tiny@champion")
    with registry_errors():
        # Both variants of a model share one experiment.
        client, _ = connect("gpt-oss-" + name.removeprefix("gpt-oss-").removesuffix("-instruct"))
        version = _find_version(client, name, alias, number)
        folder = download_artifacts(run_id=version.run_id, artifact_path=ARTIFACTS, tracking_uri=tracking_uri())
        lock = Path(folder) / provenance.LOCK
        tags = version.tags
        return SealedVersion(
            name=name,
            version=version.version,
            folder=tags["gptoss.folder"],
            source=version.source,
            signing_key=tags.get("gptoss.signing_key", ""),
            md5=tags["gptoss.md5"],
            stages=provenance.lock_entries(lock),
            runs=_runs(client, client.get_run(version.run_id).info.experiment_id, lock),
        )


def _find_version(client: Any, name: str, alias: str, number: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, number)
    except MlflowException as error:
        if error.error_code not in NOT_FOUND_CODES:
            raise
        wanted = f"{name}@{alias}" if alias else f"{name}/{number}"
        raise UserError(
            f"the registry has no {wanted}: {error.message}", "run `make run`, which registers it"
        ) from None


def _runs(client: Any, experiment: str, lock: Path) -> dict[str, Any]:
    """Return the MLflow run that made each stage's outputs, where the experiment has it."""
    # MLflow returns the latest run first; a dictionary keeps the last value of a key, so the order is reversed.
    runs = reversed(client.search_runs([experiment], max_results=MAX_RUNS))
    by_fingerprint = {run.data.tags.get("gptoss.fingerprint"): run for run in runs}
    recorded = {stage: provenance.recorded(stage, lock) for stage in provenance.lock_entries(lock)}
    return {
        stage: by_fingerprint[inputs.fingerprint]
        for stage, inputs in recorded.items()
        if inputs and inputs.fingerprint in by_fingerprint
    }
