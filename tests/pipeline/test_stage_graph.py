"""The graph that Prefect runs is the one of the shipped `dvc.yaml`."""

from __future__ import annotations

import pytest

from gptoss.core.errors import UserError
from gptoss.pipeline.stage_graph import Node, load_graph, stages_to_run, up_to
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def graph() -> list[Node]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return load_graph()


def test_every_stage_comes_after_what_it_needs(graph: list[Node]) -> None:
    position = {node.name: number for number, node in enumerate(graph)}
    assert all(position[up] < position[node.name] for node in graph for up in node.upstream)
    assert graph[-1].name == "register"


def test_dependencies_are_those_of_the_design(graph: list[Node]) -> None:
    upstream = {node.name: set(node.upstream) for node in graph}
    assert upstream["curate@wikipedia"] == {"ingest@wikipedia"}
    assert upstream["dedup"] == {"curate@wikipedia", "curate@gutenberg"}
    assert upstream["decontaminate"] == {"dedup", "benchmarks"}
    assert "publish@base" in upstream["instruct"]
    assert {"publish@base", "publish@instruct"} <= upstream["register"]


def test_only_changed_stages_and_those_downstream_run(graph: list[Node]) -> None:
    assert stages_to_run(graph, {"evaluate@base"}) == {"evaluate@base", "report", "register"}
    assert stages_to_run(graph, set()) == set()
    assert stages_to_run(graph, {node.name for node in graph}) == {node.name for node in graph}


def test_a_target_takes_only_what_it_needs(graph: list[Node]) -> None:
    names = {node.name for node in up_to(graph, "dedup")}
    assert names == {"ingest@wikipedia", "ingest@gutenberg", "curate@wikipedia", "curate@gutenberg", "dedup"}
    with pytest.raises(UserError, match="choose one of"):
        up_to(graph, "nothing")
