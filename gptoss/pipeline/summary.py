"""The summary printed at the end of a run: where the results are, and the commands to look at them."""

from __future__ import annotations

from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.pipeline import pipeline_run
from gptoss.registry.versions import current_versions


def show(settings: Settings) -> None:
    """Print the paths of the report and the models, the MLflow run, the registry versions, and further commands."""
    # Rendered again: the report stage ran before `register`, so its page lacks the runs of both.
    if (paths.REPORTS / "facts.json").exists():
        from gptoss.report.render import render

        render(settings)
    # Only the run of pretraining: it is the one that a person opens first, and the report links the others.
    runs = pipeline_run.stage_runs(["pretrain"])
    rows = [
        ("report", str(paths.REPORTS / "report.html")),
        *((f"{variant} checkpoint", str(paths.published(settings.name, variant))) for variant in paths.VARIANTS),
        *_bits_per_byte(),
        *(("MLflow run", pipeline_run.run_url(run)) for run in runs.values()),
        *_registry(settings),
        ("pages", "gptoss ui    (Prefect http://127.0.0.1:4200, MLflow http://127.0.0.1:5000)"),
        ("talk to it", "gptoss chat"),
        ("lineage", f"gptoss lineage gpt-oss-{settings.name}@champion"),
    ]
    print()
    for name, value in rows:
        print(f"  {name:<20} {value}")


def _bits_per_byte() -> list[tuple[str, str]]:
    scores = paths.evaluation("base") / "scores.json"
    if not scores.exists():
        return []
    bits: dict[str, Any] = read_json(scores)["bits_per_byte"]
    baselines = ", ".join(f"{name} {value:.3f}" for name, value in bits["baselines"].items())
    return [("bits per byte", f"{bits['model']:.3f}   (byte n-grams: {baselines})")]


def _registry(settings: Settings) -> list[tuple[str, str]]:
    return [("registry", line) for line in current_versions(settings)]
