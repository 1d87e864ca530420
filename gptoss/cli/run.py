"""Run the pipeline under Prefect.

The flow reads the stage graph from DVC and runs each stage that is out of date as a task named after the stage
(`dvc repro --single-item`). DVC decides what runs; Prefect decides when, and shows it live. It works without a server
(on Prefect's temporary one) and with the server of `gptoss ui`; `dvc repro` gives the same outputs without Prefect.
"""

from __future__ import annotations

import argparse
from typing import Any

from gptoss.core.errors import PipelineError, Preempted
from gptoss.core.process import set_quiet_env
from gptoss.pipeline import prefect_environment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", metavar="STAGE", help="run only this stage and what it needs")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and the estimated time, run nothing")


def execute(options: argparse.Namespace) -> None:
    """Run the pipeline, or print the plan of that run."""
    if options.dry_run:
        from gptoss.cli.plan import show

        set_quiet_env()
        show(target=options.target)
    else:
        run(options.target)


def run(target: str | None = None) -> None:
    """Check the configuration, run what is out of date, print where the results are.

    Errors: `PipelineError` when a stage failed; `Preempted` when a stage or the whole run was asked to stop.
    """
    from gptoss.config.cluster import load_cluster
    from gptoss.config.settings import load_settings

    settings, cluster = load_settings(), load_cluster()
    # Prefect reads its settings from the environment when it is imported, so this precedes the imports below.
    prefect_environment.prepare()

    from prefect.task_runners import ThreadPoolTaskRunner

    from flows.pipeline import pipeline
    from gptoss.pipeline import summary

    # Threads, not processes: a task only starts a stage as a child process and reads its output.
    runner: Any = ThreadPoolTaskRunner(max_workers=cluster.parallel_stages)
    # `return_state`: a failed stage is reported below as one message instead of a traceback of Prefect.
    state = pipeline.with_options(flow_run_name=f"gpt-oss {settings.name}", task_runner=runner)(
        target=target, return_state=True
    )
    # A stop on request is not a failure: exit code 75, with which a scheduler starts the command again.
    if state.is_cancelled():
        raise Preempted(state.message or "stopped on request", "the same command continues")
    if not state.is_completed():
        raise PipelineError(
            state.message or "the pipeline did not finish", "then run the same command again: finished stages are kept"
        )
    summary.show(settings)
