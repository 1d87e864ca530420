"""Names and versions in the MLflow model registry, and what its errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.errors import ClusterError
from gptoss.tracking.mlflow_run import tracking_uri

NOT_FOUND_CODES = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's codes for a model, version or alias that is not there, from a database and over HTTP alike. The second is
that of an unknown alias and of a version that is no number."""


def registry_name(name: str, head: str) -> str:
    """`gpt-oss-tiny` for the base model, `gpt-oss-tiny-instruct` for the Instruct model."""
    return "-".join(paths.published(name, head).parts)


def not_reachable(error: Any) -> ClusterError:
    """What an `MlflowException` is when it does not say that something is not there."""
    return ClusterError(
        f"the model registry at {tracking_uri()} did not answer: {error.message}",
        "start MLflow or correct MLFLOW_TRACKING_URI (unset: mlflow.db of this checkout), then run again",
    )


@contextmanager
def registry_errors() -> Iterator[None]:
    """Inside, a registry that does not answer is a `ClusterError`; that something is not there stays MLflow's error."""
    from gptoss.tracking.mlflow_run import load_mlflow

    load_mlflow()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code in NOT_FOUND_CODES:
            raise
        raise not_reachable(error) from None


def current_versions(settings: Settings) -> list[str]:
    """One line a model: its newest version and what the aliases point to; empty when nothing is registered."""
    from gptoss.tracking.mlflow_run import connect, load_mlflow

    load_mlflow()
    from mlflow.exceptions import MlflowException

    try:
        client, _ = connect(f"gpt-oss-{settings.name}")
        models = [client.get_registered_model(registry_name(settings.name, head)) for head in paths.HEADS]
    except MlflowException:
        return []
    return [
        f"{model.name}: " + ", ".join(f"{alias} = version {number}" for alias, number in sorted(model.aliases.items()))
        for model in models
    ]
