"""The pipeline under Prefect: `python -m gptoss.cli.run [--target STAGE] [--dry-run]`.

The flow reads the stage graph from DVC and runs each stage that is out of date as a task named after it
(`dvc repro --single-item`). DVC decides what runs; Prefect decides when and shows it live. It works with no
server (Prefect's temporary one) and with the one of `make ui`; `dvc repro` gives the same outputs without it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from gptoss.core.process import exit_code_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gptoss.cli.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", metavar="STAGE", help="run only this stage and what it needs")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and the estimated time, run nothing")
    options = parser.parse_args(arguments)
    return exit_code_of(lambda: plan(options.target) if options.dry_run else run(options.target))


def plan(target: str | None = None) -> None:
    """Print what would run, why, and about how long it takes. Raises `PipelineError`."""
    from gptoss.cli.plan import show
    from gptoss.core.process import set_quiet_env

    set_quiet_env()
    show(target=target)


def run(target: str | None = None) -> None:
    """Check the configuration, run what is out of date, print where everything is. Raises `PipelineError`;
    `Preempted` when a stage was asked to stop, or all were."""
    from gptoss.config.cluster import load_cluster
    from gptoss.config.settings import load_settings
    from gptoss.core.errors import PipelineError, Preempted
    from gptoss.pipeline import prefect_environment

    settings, cluster = load_settings(), load_cluster()
    prefect_environment.prepare()

    from prefect.task_runners import ThreadPoolTaskRunner

    from flows.pipeline_flow import pipeline
    from gptoss.pipeline import summary

    runner: Any = ThreadPoolTaskRunner(max_workers=cluster.parallel_stages)
    state = pipeline.with_options(flow_run_name=f"gpt-oss {settings.name}", task_runner=runner)(
        target=target, return_state=True
    )
    if state.is_cancelled():
        raise Preempted(state.message or "stopped on request", "the same command continues")
    if not state.is_completed():
        raise PipelineError(
            state.message or "the pipeline did not finish", "then run the same command again: finished stages are kept"
        )
    summary.show(settings)


if __name__ == "__main__":
    sys.exit(main())
