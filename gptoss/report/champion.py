"""The present models compared with the champions of the registry, item by item.

Part of the history, not of the facts: the registry is not an input of the report. The champion's samples are those that
MLflow keeps with the run that evaluated its bytes. A champion evaluated on other prompts or items has no sample in
common with the present model and is left out.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.evaluate.statistics import compare_evaluations
from gptoss.tracking import mlflow_client, provenance

Comparison = dict[str, Any]


def compare(settings: Settings) -> list[Comparison]:
    """One entry `{"head", "version", "rows"}` per variant that has a champion other than itself, with the rows of
    `compare_evaluations`. Raises what MLflow raises when it does not answer."""
    client, experiment = mlflow_client.connect(f"gpt-oss-{settings.name}")
    from mlflow.exceptions import MlflowException  # after `connect`, which sets MLflow up before its import

    comparisons = []
    for variant in paths.VARIANTS:
        folder = paths.published(settings.name, variant)
        try:
            # By alias and not by version: the champion may change between two reports of the same run.
            champion = client.get_model_version_by_alias("-".join(folder.parts), "champion")
        except MlflowException:  # no such model, or no champion yet
            continue
        # Versions registered before the hash was recorded have no tag, and no samples are found for an empty one.
        md5 = champion.tags.get("gptoss.md5", "")
        # Equal hashes: the present model is the champion itself.
        if not paths.evaluation(variant).exists() or md5 == provenance.output_hash(str(folder)):
            continue
        samples = samples_of(client, experiment, variant, str(folder), md5)
        present = _present_samples(variant)
        if samples and (rows := compare_evaluations(present, samples, _metrics(variant), settings.seed)):
            comparisons.append({"head": variant, "version": champion.version, "rows": rows})
    return comparisons


def samples_of(client: Any, experiment: str, variant: str, folder: str, md5: str) -> list[dict[str, Any]]:
    """The samples of the newest finished evaluation of these bytes; empty when MLflow has none. The hash identifies the
    bytes: a folder of the same name was overwritten by every later run."""
    runs = client.search_runs(
        [experiment],
        filter_string=f"tags.`gptoss.stage` = 'evaluate@{variant}' and tags.`dep/{folder}` = '{md5}' "
        "and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if not runs:
        return []
    with tempfile.TemporaryDirectory() as target:
        path = client.download_artifacts(runs[0].info.run_id, "evaluation/samples.jsonl", target)
        return [json.loads(line) for line in Path(path).read_bytes().splitlines()]


def _present_samples(variant: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (paths.evaluation(variant) / "samples.jsonl").read_bytes().splitlines()]


def _metrics(variant: str) -> dict[tuple[str, str], str]:
    rows = read_json(paths.evaluation(variant) / "scores.json")["rows"]
    # The metric that each row reports: samples carry the scores of several.
    return {(row["suite"], row["task"]): row["metric"] for row in rows}
