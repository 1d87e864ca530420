"""Registered models and their versions, and the meaning of MLflow's errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import checksums, paths
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import ClusterError, DataError
from gptoss.registry import model_folder, signature
from gptoss.registry.measurements import GATES_TAG, Measurements
from gptoss.tracking import provenance
from gptoss.tracking.mlflow_client import connect, load_mlflow, tracking_uri
from gptoss.tracking.mlflow_run import MlflowRun

# MLflow's codes for a model, version or alias that does not exist, the same from a database and over HTTP. The second
# is that of an unknown alias and of a version that is not a number.
NOT_FOUND_CODES = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
MAX_NAMES = 5


def registry_name(name: str, variant: str) -> str:
    """Return `gpt-oss-tiny` for the base model, `gpt-oss-tiny-instruct` for the Instruct model."""
    # The folder `gpt-oss/tiny` without the slash, which MLflow does not allow in names.
    return "-".join(paths.published(name, variant).parts)


def create_version(run: MlflowRun, name: str, folder: Path, scores: dict[str, Any]) -> Any:
    """Sign a published folder and register it, with everything that later comparisons need as tags.

    A repeated run returns the version that its interrupted attempt created.
    Errors: `DataError` naming files that do not match `checksums.sha256`.
    """
    from mlflow.exceptions import MlflowException

    if wrong := checksums.differing(folder):
        raise DataError(
            f"{folder}: {', '.join(wrong[:MAX_NAMES])} does not match {checksums.CHECKSUMS}",
            "run `dvc repro --force publish`",
        )
    signing_key = signature.sign(folder)  # before the version, whose files include the signature
    md5 = provenance.output_hash(str(folder))
    try:
        # Created blindly, not after a search: two runs may register the first version at the same time.
        run.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # A killed attempt may have created the version; a second one of the same bytes would become a rival candidate.
    for version in run.client.search_model_versions(f"name = '{name}'"):
        if version.run_id == run.run_id and version.tags.get("gptoss.md5") == md5:
            return version
    # Without values and details: MLflow limits the length of a tag, and the folder holds the whole file.
    gates = [{key: gate[key] for key in ("name", "passed")} for gate in read_json(folder / "gates.json")["gates"]]
    tags = Measurements.from_scores(scores).as_tags() | {
        "gptoss.bits_per_byte": f"{scores['bits_per_byte']['model']:.4f}",
        "gptoss.folder": str(folder),
        "gptoss.md5": md5,
        "gptoss.signing_key": signing_key,
        GATES_TAG: json.dumps(gates),
    }
    return run.client.create_model_version(name, model_folder.build(run, name, folder), run_id=run.run_id, tags=tags)


def link_variants(client: Any, base: Any, instruct: Any) -> None:
    """Tag the base version with its Instruct version, and the Instruct version with its base version."""
    # As tags, because MLflow has no field for the version that another one was made from.
    client.set_model_version_tag(base.name, base.version, "gptoss.instruct", f"{instruct.name}/{instruct.version}")
    client.set_model_version_tag(instruct.name, instruct.version, "gptoss.base", f"{base.name}/{base.version}")


def describe(version: Any) -> dict[str, Any]:
    """Return the entry of `registration.json`."""
    folder, md5 = version.tags["gptoss.folder"], version.tags["gptoss.md5"]
    return {"model": version.name, "folder": folder, "md5": md5, "files": len(list(Path(folder).iterdir()))}


def current_versions(settings: Settings) -> list[str]:
    """Return one line per model with the versions of its aliases; empty when nothing is registered."""
    load_mlflow()
    from mlflow.exceptions import MlflowException

    try:
        client, _ = connect(f"gpt-oss-{settings.name}")
        models = [client.get_registered_model(registry_name(settings.name, variant)) for variant in paths.VARIANTS]
    except MlflowException:  # nothing registered, or no server: the summary of a run must not fail for it
        return []
    return [
        f"{model.name}: " + ", ".join(f"{alias} = version {number}" for alias, number in sorted(model.aliases.items()))
        for model in models
    ]


def not_reachable(error: Any) -> ClusterError:
    """Translate an `MlflowException` that does not say that something does not exist."""
    return ClusterError(
        f"the model registry at {tracking_uri()} did not answer: {error.message}",
        "start MLflow or correct MLFLOW_TRACKING_URI (unset: mlflow.db of this checkout), then run again",
    )


@contextmanager
def registry_errors() -> Iterator[None]:
    """Raise `ClusterError` when the registry does not answer; errors of `NOT_FOUND_CODES` stay MLflow's."""
    # Imported as a whole, in one thread: MLflow's lazy imports fail when two threads begin with different modules.
    load_mlflow()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code in NOT_FOUND_CODES:
            raise
        raise not_reachable(error) from None
