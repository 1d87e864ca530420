"""Register the published models as versions in MLflow.

In: `gpt-oss/NAME` and `gpt-oss/NAME-instruct` with their gates; `data/evaluations/*/scores.json`; `dvc.lock`, which by
now holds the hash of every output. Out: the signature beside each folder (`gptoss/registry/signature.py`); one version
each of the MLflow models `gpt-oss-NAME` and `gpt-oss-NAME-instruct`, by reference (hard links, not copies), each tagged
with the other, with the alias `candidate`. The alias `champion` moves by the rule of `gptoss/registry/promotion.py`,
and its reasons become tags. The chain from the version to the raw files is sealed: `lineage/dvc.lock`,
`lineage/params.yaml`, and the output hashes on the MLflow run of every stage.
Errors: MLflow is not reachable (`ClusterError`; nothing is registered); a published file does not match
`checksums.sha256` (`DataError`).
"""

from __future__ import annotations

from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import ClusterError
from gptoss.registry.champions import promote_candidate
from gptoss.registry.sealing import seal_lineage
from gptoss.registry.versions import create_version, describe, link_variants, registry_errors, registry_name
from gptoss.tracking.mlflow_run import MlflowRun, StageRun
from gptoss.tracking.runner import Metrics, run_stage


@registry_errors()
def register(settings: Settings, run: StageRun) -> Metrics:
    """Register both variants and write `reports/registration.json`, which lists what was registered."""
    if not isinstance(run, MlflowRun) or not run.reached():
        raise ClusterError(
            "the model registry is not reachable", "start MLflow or unset MLFLOW_TRACKING_URI, then run again"
        )
    versions: dict[str, Any] = {}
    for variant in paths.VARIANTS:
        scores = read_json(paths.evaluation(variant) / "scores.json")
        folder = paths.published(settings.name, variant)
        versions[variant] = create_version(run, registry_name(settings.name, variant), folder, scores)
        promote_candidate(run.client, versions[variant], settings.register_.max_drop_standard_errors)
    link_variants(run.client, versions["base"], versions["instruct"])
    seal_lineage(run)
    models = [describe(version) for version in versions.values()]
    write_json(paths.REPORTS / "registration.json", {"models": models})
    return {}


if __name__ == "__main__":
    run_stage(register, "register")
