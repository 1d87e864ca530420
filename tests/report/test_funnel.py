"""The funnel: every number adds up, and a broken sum names its stage."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import write_json
from gptoss.core.errors import DataError
from gptoss.report import data_tables, facts, funnel
from gptoss.tables import documents
from gptoss.tracking.mlflow_run import StageRun
from stages.report import report
from tests.report import inputs


def steps_of(source: str) -> dict[str, Any]:
    found = json.loads(facts.PATH.read_text())["corpus"]["sources"][source]["funnel"]
    return {step["stage"]: step for step in found}


def test_every_step_adds_up_and_begins_with_the_output_of_the_last(made: Settings) -> None:
    for source in ("gutenberg", "wikipedia"):
        steps = list(steps_of(source).values())
        assert [step["stage"] for step in steps] == ["ingest", "curate", "dedup", "decontaminate", "shards"]
        for step in steps:
            assert step["in"]["documents"] == step["kept"]["documents"] + sum(e["documents"] for e in step["removed"])
        for step in steps[1:]:
            removed = sum(entry["bytes"] for entry in step["removed"])
            assert step["in"]["bytes"] == step["kept"]["bytes"] + removed + step["rewritten"]
        for before, after in pairwise(steps):
            assert after["in"] == {unit: before["kept"][unit] for unit in ("documents", "bytes")}


def test_the_sums_are_written_out(made: Settings) -> None:
    source = json.loads(facts.PATH.read_text())["corpus"]["sources"]["wikipedia"]
    rows = {step["title"]: step for step in data_tables.funnel_steps(source)}
    assert rows["Ingest"]["sum"] == "145 records = 40 kept + 105 removed"
    assert [entry["reason"] for entry in rows["Ingest"]["entries"]] == ["redirect", "namespace", "no text"]
    assert rows["Curate"]["sum"].startswith("40 documents = 36 kept + 4 removed; ")
    assert rows["Encode"]["sum"].startswith("36 documents = 36 train; ")


def test_lost_documents_are_an_error_that_names_the_stage(made: Settings) -> None:
    for path in documents.removed_files(paths.curated("wikipedia")):
        path.unlink()
    with pytest.raises(
        DataError, match=r"curate does not add up for wikipedia: 40 documents in, but 36 kept \+ 0"
    ) as e:
        report(made, StageRun("report"))
    assert "curate@wikipedia" in e.value.fix


def test_tokens_of_other_documents_are_an_error(made: Settings) -> None:
    counts = json.loads(paths.metrics("shards").read_text())
    counts["train"]["sources"]["wikipedia"]["documents"] -= 1
    write_json(paths.metrics("shards"), counts)
    with pytest.raises(DataError, match="shards does not add up for wikipedia: 36 documents in, but 35 kept"):
        report(made, StageRun("report"))


def test_only_stages_that_rewrite_may_change_the_bytes_they_keep() -> None:
    step = {
        "stage": "dedup",
        "in": {"documents": 3, "bytes": 30},
        "removed": [{"reason": "exact", "documents": 1, "bytes": 10}],
        "rewritten": 5,
        "kept": {"documents": 2, "bytes": 15},
    }
    with pytest.raises(DataError, match=r"30 bytes in, but 15 kept \+ 10 removed = 25"):
        funnel.check("web", step, may_rewrite=False)
    funnel.check("web", step, may_rewrite=True)
    with pytest.raises(DataError, match="grew by 5 bytes"):
        funnel.check("web", step | {"rewritten": -5}, may_rewrite=True)
    funnel.check("web", step | {"rewritten": -5, "stage": "curate"}, may_rewrite=True)
    assert data_tables.arithmetic(step).endswith("30 bytes = 15 + 10 + 5 cut")


def test_a_stage_that_did_not_run_ends_the_funnel(workspace: Path, settings: Settings) -> None:
    inputs.corpus(settings)
    for path in paths.CLEAN.iterdir():
        path.unlink()
    report(settings, StageRun("report"))
    assert list(steps_of("wikipedia")) == ["curate", "dedup"], "no metrics of ingest, nothing clean"
