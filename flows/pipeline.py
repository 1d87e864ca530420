"""The Prefect flow of the pipeline: one task per stage of DVC's graph."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import time
from typing import Any
from uuid import UUID

from prefect import flow, get_client, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from gptoss.config.cluster import load_cluster
from gptoss.config.settings import load_settings
from gptoss.core import paths
from gptoss.pipeline import pipeline_run, stage_graph
from gptoss.pipeline.stage_process import StageProcesses
from gptoss.tracking.mlflow_run import FLOW_RUN, PARENT_RUN

# How often the flow asks Prefect whether it was cancelled on its page: a small request to a local server.
CANCEL_POLL_SECONDS = 5.0
# The flow waits this much longer than the stage itself, so the stage can report its stop before it is killed.
EXTRA_GRACE_SECONDS = 15.0


@flow(name="gpt-oss", log_prints=False)
def pipeline(target: str | None = None) -> State[Any]:
    """Run every stage that is out of date after the stages it depends on, independent stages in parallel.

    `target` limits the run to one stage and everything upstream of it.
    """
    settings = load_settings()
    graph = stage_graph.load_graph()
    if target:
        graph = stage_graph.up_to(graph, target)
    changed = stage_graph.changed_stages()
    to_run = stage_graph.stages_to_run(graph, set(changed))
    # No parent when nothing runs: an empty MLflow run would only hide the others.
    parent = pipeline_run.open_parent(settings, str(flow_run.get_name())) if to_run else pipeline_run.NO_PARENT
    # Stages find their Prefect and MLflow parents in the environment: DVC, which starts them, knows neither.
    identity = {FLOW_RUN: str(flow_run.get_id()), PARENT_RUN: parent.run_id or "", "PYTHONUNBUFFERED": "1"}
    processes = StageProcesses(os.environ | identity, load_cluster().grace_seconds + EXTRA_GRACE_SECONDS)
    states = _run_stages(graph, changed, to_run, processes)
    # Crashed: the task itself ended with an exception, such as a broken connection to the server.
    failed = [name for name, state in states.items() if state.is_failed() or state.is_crashed()]
    pipeline_run.close_parent(parent, failed=bool(failed))
    _publish_artifacts(states)
    # Returned instead of raised, so that the message is the stage's own and not a traceback.
    if failed:
        return Failed(message="\n".join(str(states[name].message) for name in failed))
    stopped = [str(state.message) for state in states.values() if state.is_cancelled()]
    if stopped:
        return Cancelled(name="Stopped", message="\n".join(stopped))
    return Completed(message=f"{len(to_run)} of {len(graph)} stages were out of date")


def _run_stages(
    graph: list[stage_graph.Node], changed: dict[str, list[str]], to_run: set[str], processes: StageProcesses
) -> dict[str, State[Any]]:
    futures: dict[str, PrefectFuture[Any]] = {}
    try:
        for node in graph:
            upstream = [futures[name] for name in node.upstream if name in futures]
            stage_task: Any = run_stage.with_options(name=node.name, task_run_name=node.name)
            reasons = changed.get(node.name, ["something it depends on ran"])
            futures[node.name] = stage_task.submit(
                stage=node.name, reasons=reasons, out_of_date=node.name in to_run, processes=processes,
                wait_for=upstream,
            )  # fmt: skip
        _wait_or_cancel(list(futures.values()))
    except (KeyboardInterrupt, TerminationSignal):
        try:
            processes.stop()
        except BaseException:  # a second Ctrl-C: stop at once
            processes.kill()
            raise
        # After a stop the tasks still have to report how their stages ended.
        wait(list(futures.values()))
    except BaseException:  # leave no stage running
        processes.stop()
        raise
    return {name: future.state for name, future in futures.items()}


def _wait_or_cancel(futures: list[PrefectFuture[Any]]) -> None:
    """Wait for all tasks. Raises `TerminationSignal` when the flow run was cancelled on its Prefect page.

    Prefect sends a signal only to runs that a worker started, so a run started from a terminal has to ask. Prefect's
    own `wait` cannot poll: a task counts as done when its timeout runs out.
    """
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for future in futures:
        future.add_done_callback(ended.put)
    for _ in futures:
        while True:
            try:
                ended.get(timeout=CANCEL_POLL_SECONDS)
                break
            except queue.Empty:
                if _cancelled_in_ui():
                    raise TerminationSignal(signal.SIGTERM) from None
    wait(futures)


def _cancelled_in_ui() -> bool:
    with contextlib.suppress(Exception), get_client(sync_client=True) as client:  # the server may be down
        state = client.read_flow_run(UUID(flow_run.get_id())).state
        return state is not None and state.is_cancelling()
    return False


@task(cache_policy=NO_CACHE, persist_result=False)
def run_stage(stage: str, reasons: list[str], out_of_date: bool, processes: StageProcesses) -> State[Any]:
    """Run `dvc repro --single-item STAGE` with its output in the task's log."""
    logger = get_run_logger()
    if not out_of_date:
        return Completed(name="Unchanged", message=f"{stage} is up to date")
    logger.info("%s: %s", stage, "; ".join(reasons))
    start = time.monotonic()
    outcome = processes.run(stage, lambda line: logger.info("%s", line))
    seconds = time.monotonic() - start
    if outcome.kind == "Stopped":
        return Cancelled(name="Stopped", message=f"{stage}: {outcome.problem}")
    if outcome.kind == "Failed":
        return Failed(message=f"{stage}: {outcome.problem}")
    return Completed(name=outcome.kind, message=f"{stage} {outcome.kind.lower()} in {seconds:.0f} s")


def _publish_artifacts(states: dict[str, State[Any]]) -> None:
    """Put the table of stages and the report on the page of the flow run."""
    links = pipeline_run.stage_links(list(states))
    create_table_artifact(
        key="stages",
        table=[
            {"stage": name, "state": state.name, "result": state.message or "", "MLflow run": links.get(name, "")}
            for name, state in states.items()
        ],
        description="Stages of this run, in order, each with the MLflow run that made its present outputs",
    )
    report = paths.REPORTS / "report.md"
    if report.exists() and all(state.is_completed() for state in states.values()):
        create_markdown_artifact(key="report", markdown=report.read_text(encoding="utf-8"), description="The report")
