"""When a source is refused because too much of it is damaged."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gptoss.core.atomic_files import read_json
from gptoss.core.errors import DataError
from tests.ingest.stage_run import OUTPUT, MakeSettings, article_dumps, put, run
from tests.raw_files import dump, page, prose


def test_too_many_damaged_files_fail_with_the_arithmetic(workspace: Path, source_settings: MakeSettings) -> None:
    files = article_dumps(10)
    files["raw/03.xml.bz2"] = files["raw/03.xml.bz2"][:-30]
    put(files)
    with pytest.raises(DataError) as raised:
        run(source_settings("mediawiki", "raw/*.bz2"))
    assert "1 of 10 files are damaged (1 / 10 = 0.100 > ingest.max_reject_fraction = 0.05)" in raised.value.problem
    assert "raw/03.xml.bz2: bzip2 data is cut off" in raised.value.problem
    assert "fetch the damaged files again" in raised.value.fix
    assert not OUTPUT.exists()


def test_few_damaged_files_keep_what_was_before_the_damage(workspace: Path, source_settings: MakeSettings) -> None:
    files = article_dumps(4)
    whole = dump(*(page(f"B{i}", i + 1, prose(i, 60)) for i in range(30)))
    files["raw/02.xml"] = whole[: len(whole) // 2]
    put(files)
    metrics = run(source_settings("mediawiki", "raw/*", max_reject_fraction=0.25))
    (damaged,) = [entry for entry in read_json(OUTPUT / "files.json")["files"] if entry["status"] == "damaged"]
    assert damaged["url"] == "raw/02.xml"
    assert "cut off" in damaged["detail"]
    assert 5 < damaged["documents"] < 30
    assert metrics["documents"] == 16 + damaged["documents"]
    assert metrics["damaged_files"] == 1
    (row,) = pq.read_table(OUTPUT / "rejected.parquet").to_pylist()
    assert (row["origin"], row["reason"]) == ("raw/02.xml", "damaged")


def test_too_many_rejected_records(workspace: Path, source_settings: MakeSettings) -> None:
    good = json.dumps({"id": "1", "title": "T", "abstract": prose(1)})
    put({"raw/a.jsonl": f"{good}\n{{bad\n{{bad\n".encode()})
    with pytest.raises(DataError, match=r"2 of 3 records are rejected \(2 / 3 = 0\.667 > .* first at line 2: not JSON"):
        run(source_settings("arxiv", "raw/a.jsonl"))
    assert not OUTPUT.exists()


def test_a_source_without_any_document(workspace: Path, source_settings: MakeSettings) -> None:
    put({"raw/a.xml": dump(page("A", 1, "#REDIRECT [[B]]"))})
    with pytest.raises(DataError, match=r"1 files gave no document \(skipped: \{'redirect': 1\}\)"):
        run(source_settings("mediawiki", "raw/a.xml"))


def test_wrong_format_is_one_clear_error(workspace: Path, source_settings: MakeSettings) -> None:
    put({"raw/a.bin": os.urandom(5000)})
    for format_ in ("mediawiki", "warc", "arxiv"):
        with pytest.raises(DataError, match=r"raw/a\.bin"):
            run(source_settings(format_, "raw/a.bin"))
        shutil.rmtree(".runs")
