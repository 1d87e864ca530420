"""Names and versions in the MLflow model registry."""

from __future__ import annotations

from stages import paths
from stages.settings import Settings


def registry_name(name: str, head: str) -> str:
    """`gpt-oss-tiny` for the base model, `gpt-oss-tiny-instruct` for the Instruct model."""
    return "-".join(paths.published(name, head).parts)


def current_versions(settings: Settings) -> list[str]:
    """One line a model: its newest version and what the aliases point to; empty when nothing is registered."""
    from mlflow.exceptions import MlflowException

    from stages.tracking import connect

    try:
        client, _ = connect(f"gpt-oss-{settings.name}")
        models = [client.get_registered_model(registry_name(settings.name, head)) for head in paths.HEADS]
    except MlflowException:
        return []
    return [
        f"{model.name}: " + ", ".join(f"{alias} = version {number}" for alias, number in sorted(model.aliases.items()))
        for model in models
    ]
