"""The stage graph and what is out of date, read from DVC: Prefect observes this graph and never keeps a second one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from gptoss.core.errors import PipelineError, UserError

DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")
"""DVC of this interpreter; parallel stages wait for the repository lock instead of failing."""


@dataclass(frozen=True)
class Node:
    """One stage of `dvc.yaml`, such as `ingest@wikipedia`."""

    name: str
    command: str
    upstream: tuple[str, ...]


def load_graph() -> list[Node]:
    """Every stage in an order in which each comes after what it depends on. Raises `UserError` for a broken
    `dvc.yaml`."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(".") as repo:
            graph = repo.index.graph
            nodes = {
                stage.addressing: Node(
                    stage.addressing, stage.cmd, tuple(sorted(up.addressing for up in graph.successors(stage)))
                )
                for stage in graph.nodes
                if stage.cmd
            }
    except DvcException as error:
        raise UserError(f"dvc.yaml: {error}", "mend dvc.yaml or params.yaml; `dvc stage list` checks them") from error
    order = TopologicalSorter({name: node.upstream for name, node in sorted(nodes.items())}).static_order()
    return [nodes[name] for name in order if name in nodes]


Change = str | dict[str, dict[str, Any]]
"""What DVC says of a stage: `always changed`, or paths by kind, as `{"changed deps": {"data/clean": "modified"}}`."""


def changes() -> dict[str, list[Change]]:
    """Stages that are out of date by themselves, and what changed of each."""
    finished = subprocess.run([*DVC, "status", "--json"], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise PipelineError(f"dvc status: {finished.stderr.strip()}", "mend what it names and run again")
    status: dict[str, list[Change]] = json.loads(finished.stdout or "{}")
    return status


def changed_stages() -> dict[str, list[str]]:
    """Stages that are out of date by themselves, each with DVC's reasons (`changed deps: params.yaml`)."""
    return {stage: [_reason(change) for change in found] for stage, found in changes().items()}


def _reason(change: Change) -> str:
    if isinstance(change, str):
        return change
    return "; ".join(f"{kind}: {', '.join(paths)}" for kind, paths in change.items())


def to_visit(graph: list[Node], changed: set[str]) -> set[str]:
    """The changed stages and everything downstream of them; the others need not even be looked at."""
    visit: set[str] = set()
    for node in graph:
        if node.name in changed or any(up in visit for up in node.upstream):
            visit.add(node.name)
    return visit


def up_to(graph: list[Node], target: str) -> list[Node]:
    """`target` and everything it needs. Raises `UserError` for an unknown stage."""
    by_name = {node.name: node for node in graph}
    if target not in by_name:
        raise UserError(f"no stage is called {target!r}", f"choose one of: {', '.join(by_name)}")
    needed = {target}
    for node in reversed(graph):
        if node.name in needed:
            needed.update(node.upstream)
    return [node for node in graph if node.name in needed]
