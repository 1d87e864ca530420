"""Report: everything about a run that a person should see, on one page, and all about its data on another.

In: the metrics and curves of all stages, the document tables, the scores and samples of both heads. Out:
`reports/facts.json`, a pure function of these. Beside it, for reading, `reports/report.html` and
`reports/report.md` with `reports/figures`, which add what was observed (times, speeds, runs) and are therefore
no outputs of the stage, and `reports/data.html`, the page of the data. What can go wrong: documents or bytes that do
not add up from stage to stage (`DataError`, naming the stage); what other stages left out is shown as "not measured".
Baselines and levels of guessing: the papers named beside each figure.
"""

from __future__ import annotations

from gptoss.config.settings import Settings
from gptoss.core.atomic_files import write_json
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage


def report(settings: Settings, run: StageRun) -> Metrics:
    """Collect the facts, set the pages, keep a copy of them with the run. Returns no metrics: a metrics file
    would be an input of the report itself."""
    from gptoss.report import facts, render

    write_json(facts.PATH, facts.collect(settings))
    for path in render.render(settings):
        run.artifact(path, "figures" if path.parent == render.FIGURES else None)
    return {}


if __name__ == "__main__":
    run_stage(report, "report")
