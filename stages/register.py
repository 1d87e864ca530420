"""Register the published models: `python -m stages.register`.

In: `gpt-oss/NAME` and `gpt-oss/NAME-instruct` with their gates, `data/evaluations/*/scores.json`, and `dvc.lock`,
which now holds the hash of every output. Out: the maker's signature beside each folder (`gptoss/registry/signature.py`); one
version each of the MLflow models `gpt-oss-NAME` and `gpt-oss-NAME-instruct`, by reference (hard links, no second copy
of the bytes), alias `candidate`, each tagged with the other. The alias `champion` moves when `promotion.decide` says
so, and its reasons become tags. The chain from the version to the raw files (`lineage/dvc.lock`,
`lineage/params.yaml`, the hashes on every stage's MLflow run) is sealed here.

What can go wrong: MLflow is not reachable (`ClusterError`; nothing is registered), or a published file no longer
matches `checksums.sha256` (`DataError`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import checksums, paths
from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import ClusterError, DataError
from gptoss.registry import champions, model_folder, promotion, signature
from gptoss.registry.versions import registry_errors, registry_name
from gptoss.tracking import provenance
from gptoss.tracking.mlflow_run import MlflowRun, StageRun
from gptoss.tracking.runner import Metrics, run_stage

SIGNING_KEY_TAG = "gptoss.signing_key"


@registry_errors()
def register(settings: Settings, run: StageRun) -> Metrics:
    """Register both heads and write `reports/registration.json`, which names what was registered."""
    if not isinstance(run, MlflowRun) or not run.reached():
        raise ClusterError(
            "the model registry is not reachable", "start MLflow or unset MLFLOW_TRACKING_URI, then run again"
        )
    models = []
    versions: dict[str, Any] = {}
    for head in paths.HEADS:
        folder = paths.published(settings.name, head)
        verify_checksums(folder)
        key = signature.sign(folder)
        md5 = provenance.output_hash(str(folder))
        scores = read_json(paths.evaluation(head) / "scores.json")
        version = create_version(run, registry_name(settings.name, head), folder, md5, scores)
        run.client.set_model_version_tag(version.name, version.version, SIGNING_KEY_TAG, key)
        versions[head] = version
        promote(run, version, scores, read_json(folder / "gates.json"), settings.register_.max_drop_standard_errors)
        models.append({"model": version.name, "folder": str(folder), "md5": md5, "files": len(list(folder.iterdir()))})
    link(run.client, versions)
    seal(run)
    write_json(paths.REPORTS / "registration.json", {"models": models})
    return {}


def verify_checksums(folder: Path) -> None:
    """Compare every file of a published folder with its `checksums.sha256`. Raises `DataError` naming those that are
    absent, changed or not listed."""
    wrong = checksums.differing(folder)
    if wrong:
        raise DataError(
            f"{folder}: {', '.join(wrong[:5])} does not match {checksums.CHECKSUMS}", "run `dvc repro --force publish`"
        )


def create_version(run: MlflowRun, name: str, folder: Path, md5: str, scores: dict[str, Any]) -> Any:
    """The registry version of these bytes: a new one, or the one an interrupted attempt of this run left."""
    from mlflow.exceptions import MlflowException

    client = run.client
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.run_id == run.run_id and version.tags.get("gptoss.md5") == md5:
            return version
    source = model_folder.build(run, name, folder)
    tags = {"gptoss.md5": md5, "gptoss.folder": str(folder)} | promotion.as_tags(scores)
    return client.create_model_version(name, source, run_id=run.run_id, tags=tags)


def promote(run: MlflowRun, version: Any, scores: dict[str, Any], gates: Any, standard_errors: float) -> None:
    """Move `candidate`, and `champion` when nothing speaks against it; write the decision and its reasons as tags."""
    client = run.client
    client.set_registered_model_alias(version.name, "candidate", version.version)
    champion = champions.get_champion(client, version.name)
    before = promotion.from_tags(champion.tags) if champion is not None else None
    decision = promotion.decide(promotion.measured(scores), before, gates, standard_errors)
    reasons = "; ".join(decision.reasons)
    if decision.undecided:
        force = f'python -m gptoss.cli.promote --model {version.name} --to {version.version} --force "why"'
        reasons += f"; `{force}` decides"
    if decision.promoted and (champion is None or str(champion.version) != str(version.version)):
        champions.set_champion(client, version.name, str(version.version), "promoted", reasons)
    against = f"version {champion.version}" if champion is not None else "no champion"
    tags = {
        champions.GATES_TAG: json.dumps([{key: gate[key] for key in ("name", "passed")} for gate in gates["gates"]]),
        "gptoss.promoted": str(decision.promoted).lower(),
        "gptoss.compared_with": against,
        "gptoss.reasons": reasons,
    }
    for key, value in tags.items():
        client.set_model_version_tag(version.name, version.version, key, value)
    word = "champion" if decision.promoted else "candidate only"
    print(f"{version.name} version {version.version}: {word} ({reasons})")


def link(client: Any, versions: dict[str, Any]) -> None:
    """Tag the base version with its Instruct version, and the other way round."""
    base, instruct = versions["base"], versions["instruct"]
    client.set_model_version_tag(base.name, base.version, "gptoss.instruct", f"{instruct.name}/{instruct.version}")
    client.set_model_version_tag(instruct.name, instruct.version, "gptoss.base", f"{base.name}/{base.version}")


def seal(run: MlflowRun) -> None:
    """Put the hashes `dvc.lock` records onto the MLflow run that made them, and keep the lock with this run."""
    experiment = run.client.get_run(run.run_id).info.experiment_id
    entries = provenance.lock_entries()
    by_fingerprint = {
        found.data.tags.get("gptoss.fingerprint"): found.info.run_id
        for found in reversed(run.client.search_runs([experiment], max_results=5000))
    }
    for stage, entry in entries.items():
        dependencies = provenance.recorded(stage)
        run_id = by_fingerprint.get(dependencies.fingerprint) if dependencies else None
        if run_id is None:
            continue  # made by another checkout and restored from its cache
        for output in entry.get("outs", []):
            run.client.set_tag(run_id, f"out/{output['path']}", output["md5"])
    for name in ("dvc.lock", "params.yaml"):
        run.artifact(Path(name), "lineage")


if __name__ == "__main__":
    run_stage(register, "register")
