"""The stage graph and the stages that are out of date, read from DVC. Prefect runs this graph and has no other."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from gptoss.code_identity.stages import write_identities
from gptoss.core.errors import PipelineError, UserError

# DVC of this interpreter; parallel stages wait for the repository lock instead of failing.
DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")
# The stage that writes the code identity of the others (`stages/code.py`).
CODE = "code"


@dataclass(frozen=True)
class Node:
    """One stage of `dvc.yaml`, such as `ingest@wikipedia`."""

    name: str
    command: str
    upstream: tuple[str, ...]


def load_graph() -> list[Node]:
    """All stages except `code`, in topological order.

    Errors: `UserError` for an invalid `dvc.yaml`.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(".") as repo:
            graph = repo.index.graph
            stages = [stage for stage in graph.nodes if stage.cmd and stage.addressing != CODE]
            nodes = {stage.addressing: Node(stage.addressing, stage.cmd, _upstream(graph, stage)) for stage in stages}
    except DvcException as error:
        raise UserError(
            f"dvc.yaml: {error}", "correct dvc.yaml or params.yaml; `dvc stage list` checks them"
        ) from error
    # Sorted first, so that the order is the same in every run.
    order = TopologicalSorter({name: node.upstream for name, node in sorted(nodes.items())}).static_order()
    return [nodes[name] for name in order if name in nodes]


def _upstream(graph: Any, stage: Any) -> tuple[str, ...]:
    return tuple(sorted({up.addressing for up in graph.successors(stage)} - {CODE}))


# What DVC reports about a stage: paths by kind, as `{"changed deps": {"data/clean": "modified"}}`. Parameter files have
# the keys that changed: `{"changed deps": {"data/code/pretrain.yaml": {"gptoss/train/step": "modified"}}}`.
Change = str | dict[str, dict[str, Any]]


def changes(*, record_code: bool = False) -> dict[str, list[Change]]:
    """Stages that are out of date by themselves, and what changed of each; the stage `code`, which DVC always reports,
    is brought up to date first and left out. `record_code`: also have DVC store its output where that changed. Raises
    `PipelineError` when DVC fails."""
    write_identities()
    status = _status()
    if record_code and any(isinstance(change, dict) for change in status.get(CODE, [])):
        _dvc("repro", "--quiet", "--single-item", CODE)
    return {stage: found for stage, found in status.items() if stage != CODE}


def _status() -> dict[str, list[Change]]:
    status: dict[str, list[Change]] = json.loads(_dvc("status", "--json") or "{}")
    return status


def _dvc(*arguments: str) -> str:
    finished = subprocess.run([*DVC, *arguments], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise PipelineError(f"dvc {arguments[0]}: {finished.stderr.strip()}", "correct what it names and run again")
    return finished.stdout


def changed_stages() -> dict[str, list[str]]:
    """Stages that are out of date by themselves, each with DVC's reasons (`changed deps: data/clean`). Called by a run:
    the code identity that it is about to use is stored."""
    return {stage: [_reason(change) for change in found] for stage, found in changes(record_code=True).items()}


def _reason(change: Change) -> str:
    if isinstance(change, str):
        return change
    return "; ".join(f"{kind}: {', '.join(map(_named, paths.items()))}" for kind, paths in change.items())


def _named(changed: tuple[str, Any]) -> str:
    path, what = changed
    return f"{path} ({', '.join(what)})" if isinstance(what, dict) else path


def stages_to_run(graph: list[Node], changed: set[str]) -> set[str]:
    """The changed stages and everything downstream of them. DVC still skips one whose inputs turn out the same, but it
    need not hash the inputs of any other stage."""
    to_run: set[str] = set()
    for node in graph:  # in topological order, so upstream stages are decided before their dependents
        if node.name in changed or any(up in to_run for up in node.upstream):
            to_run.add(node.name)
    return to_run


def up_to(graph: list[Node], target: str) -> list[Node]:
    """`target` and everything upstream of it.

    Errors: `UserError` for an unknown stage.
    """
    by_name = {node.name: node for node in graph}
    if target not in by_name:
        raise UserError(f"no stage is called {target!r}", f"choose one of: {', '.join(by_name)}")
    needed = {target}
    for node in reversed(graph):  # dependents before what they depend on
        if node.name in needed:
            needed.update(node.upstream)
    return [node for node in graph if node.name in needed]
