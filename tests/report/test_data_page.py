"""The data page: duplicates beside the kept documents, figures only of what was measured, hostile text harmless."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.report import corpus_stats, counts, data_charts, facts, removed, render
from gptoss.tables.documents import REMOVED, document_files, write_table
from gptoss.tracking.mlflow_run import StageRun
from stages.report import report
from tests.documents import write_documents
from tests.report import inputs
from tests.report.page import Page


def test_the_page_is_one_file_and_harmless(made: Settings) -> None:
    html = render.DATA.read_text()
    page = Page(html)
    assert page.loads == [] and page.runs == [] and page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert "<script" not in html and "<img" not in html
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)
    assert 'href="data.html"' in render.HTML.read_text()


def test_every_section_is_filled(made: Settings) -> None:
    html = render.DATA.read_text()
    text = " ".join("".join(Page(html).text).split())
    assert html.count("<svg") == 4, "funnel, reasons, clusters, distributions of one source"
    for shown in (
        "145 records = 40 kept + 105 removed", "5 clusters of documents that say the same", "The largest holds 14",
        "Jump to navigation", "43 lines, 900 B", "German", "CC0", "Jaccard 0.941", "few stop words", "0.31 > 0.1",
    ):  # fmt: skip
        assert shown in text, shown
    assert "<mark>sea.</mark>" in html and "<mark>river.</mark>" in html


def test_a_page_without_inputs_says_not_measured(workspace: Path, settings: Settings) -> None:
    report(settings, StageRun("report"))
    html = render.DATA.read_text()
    assert "<svg" not in html
    assert html.count("Not measured.") >= 5


def test_samples_are_the_ten_smallest_ids_whatever_the_files(workspace: Path) -> None:
    """Thirty removals over three files, one id twice: the ten smallest ids, each once, with their texts."""
    rows = [inputs.document("web", number, f"text {number} of many") for number in range(30)]
    rows.append(rows[0])
    for part in range(3):
        removed_rows = [inputs.removed(row, "short", str(part)) for row in rows[part::3]]
        paths.CLEAN.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist(removed_rows, schema=REMOVED)
        write_table(paths.CLEAN / f"removed-{part:05d}.parquet", table)
    (group,), sums = removed.collect("decontaminate", [paths.CLEAN])
    assert group["documents"] == 31 and counts.group_by(sums, 1)["web",]["documents"] == 31
    ids = sorted({row["id"] for row in rows})[: removed.SAMPLES]
    assert [sample["id"] for sample in group["samples"]] == ids
    texts = {row["id"]: row["text"] for row in rows}
    assert [sample["excerpt"][0][0] for sample in group["samples"]] == [texts[identity] for identity in ids]


def test_kept_documents_are_read_in_one_pass(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are read only from the row groups that contain a wanted document."""
    rows = [inputs.document("web", number, f"text {number}") for number in range(200)]
    paths.DEDUPED.mkdir(parents=True)
    write_documents(paths.DEDUPED, rows, rows_per_file=20)
    read: list[object] = []
    plain = pq.ParquetFile.iter_batches

    def recorded(self: pq.ParquetFile, **options: Any) -> Any:
        read.append(self)
        return plain(self, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", recorded)
    wanted = [rows[3]["id"], rows[7]["id"], rows[150]["id"], "of an earlier run"]
    assert [row["text"] for row in removed.kept_documents(wanted).values()] == ["text 3", "text 7", "text 150"]
    assert len(document_files(paths.DEDUPED)) == 10 and len(read) == 2


def test_a_duplicate_of_an_earlier_run_is_shown_alone(made: Settings) -> None:
    (path,) = paths.DEDUPED.glob("removed-*.parquet")
    rows = pq.read_table(path).to_pylist()
    rows[1]["duplicate_of"] = "ab" * 16
    write_table(path, pa.Table.from_pylist(rows, schema=REMOVED))
    report(made, StageRun("report"))
    assert "kept by an earlier run" in render.DATA.read_text()


def test_distributions_of_wide_ranges_are_drawn_and_empty_ones_not() -> None:
    wide = {"edges": [0, 1, 10, 10_000], "in": [2, 3, 4], "kept": [2, 3, 0]}
    figure = data_charts.distributions("web", {"words": wide})
    assert figure is not None and "words" in figure.svg
    assert "1,000</text>" in figure.svg and "mathdefault" not in figure.svg
    assert data_charts.distributions("web", {"words": {"edges": [0, 1], "in": [0], "kept": [0]}}) is None
    assert data_charts.distributions("web", {}) is None


def test_rare_languages_are_added_up() -> None:
    met: dict[counts.Key, counts.Amount] = {
        ("web", f"l{n:02d}"): {"documents": 100 - n, "bytes": 10} for n in range(30)
    }
    rows = corpus_stats.languages(met, {("web", "l29"): {"documents": 4, "bytes": 2}}, "web")
    assert len(rows) == corpus_stats.MAX_NAMED + 1
    assert rows[-1]["name"] == "others" and rows[-1]["clean"] == {"documents": 4, "bytes": 2}
    assert sum(row["documents"] for row in rows) == sum(one["documents"] for one in met.values())


def test_sizes_of_clusters_are_read_from_the_metrics() -> None:
    found = corpus_stats.clusters({"clusters": {"size_10_or_more": 1, "size_02": 7}})
    assert found == [
        {"size": 2, "or_more": False, "clusters": 7},
        {"size": 10, "or_more": True, "clusters": 1},
    ]


def test_repeated_lines_are_in_the_facts(made: Settings) -> None:
    corpus = json.loads(facts.PATH.read_text())["corpus"]
    lines = corpus["sources"]["wikipedia"]["repeated_lines"]
    assert lines["measured"] == {"lines": 43, "bytes": 900} and lines["examples"][0] == {
        "text": "Jump to navigation",
        "copies": 31,
    }
    assert corpus["passages"] is None and corpus["sources"]["gutenberg"]["repeated_lines"] is None
