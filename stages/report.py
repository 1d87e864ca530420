"""Render one page about the run and its model, and one about its data.

In: metrics and curves of all stages, the document tables, scores and samples of both variants.
Out: `reports/facts.json`, a pure function of the inputs. It also writes `reports/report.html`, `reports/report.md` with
`reports/figures`, and `reports/data.html`. These are not DVC outputs, because they contain times, speeds and run ids.
Errors: `DataError`, naming the stage, when documents or bytes do not add up from one stage to the next. What other
stages did not measure is shown as "not measured".
References: published figures in `evals/baselines`, each with its source.
"""

from __future__ import annotations

from gptoss.config.settings import Settings
from gptoss.core.atomic_files import write_json
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage


def report(settings: Settings, run: StageRun) -> Metrics:
    """Collect the facts, render the pages, keep a copy of the pages with the MLflow run."""
    from gptoss.report import facts, render  # here, since they import matplotlib and Jinja

    write_json(facts.PATH, facts.collect(settings))
    for path in render.render(settings):
        run.log_artifact(path, "figures" if path.parent == render.FIGURES else None)
    return {}  # a metrics file of the report would be an input of the report itself


if __name__ == "__main__":
    run_stage(report, "report")
