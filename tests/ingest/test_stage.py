"""The stage as a whole: what it writes and when it refuses."""

from __future__ import annotations

import ctypes
import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gptoss.core.atomic_files import read_json
from gptoss.core.errors import DataError
from gptoss.tables import documents
from tests.ingest.stage_run import OUTPUT, MakeSettings, article_dumps, command, environment, output_bytes, put, run
from tests.raw_files import prose


def test_documents_rejections_and_files(workspace: Path, source_settings: MakeSettings) -> None:
    lines = [{"id": f"2001.{i:05d}", "title": f"T{i}", "abstract": prose(i), "license": ""} for i in range(40)]
    body = "".join(json.dumps(line) + "\n" for line in [*lines, lines[7], lines[3] | {"abstract": ""}]) + "{broken\n"
    put({"raw/a.jsonl": body.encode(), "raw/b.jsonl.gz": gzip.compress(json.dumps(lines[0] | {"id": "x"}).encode())})
    metrics = run(source_settings("arxiv", "raw/*", max_reject_fraction=0.1))
    table = documents.read_table(OUTPUT)
    assert table.schema.equals(documents.DOCUMENT)
    assert metrics["documents"] == table.num_rows == 43
    assert (metrics["records"], metrics["rejected_by"], metrics["skipped"]) == (44, {"not JSON": 1}, {})
    assert metrics["bytes"] == sum(len(text.encode()) for text in table["text"].to_pylist())
    first = table.slice(0, 1).to_pylist()[0]
    assert first["id"] == documents.document_id("sample", first["url"], first["text"])
    assert (first["source"], first["language"], first["license"]) == ("sample", "en", "L")
    assert len(set(table["id"].to_pylist())) == table.num_rows - 1
    rejected = pq.read_table(OUTPUT / "rejected.parquet")
    assert rejected.schema.equals(documents.REJECTED)
    assert [(row["origin"], row["locator"], row["reason"]) for row in rejected.to_pylist()] == [
        ("raw/a.jsonl", "line 43", "not JSON")
    ]
    files = read_json(OUTPUT / "files.json")["files"]
    assert [(entry["url"], entry["documents"], entry["rejected"], entry["status"]) for entry in files] == [
        ("raw/a.jsonl", 42, 1, "ok"),
        ("raw/b.jsonl.gz", 1, 0, "ok"),
    ]
    assert files[0]["bytes"] == len(body)


def test_two_runs_are_byte_identical(workspace: Path, source_settings: MakeSettings) -> None:
    put(article_dumps(3))
    settings = source_settings("mediawiki", "raw/*.bz2")
    run(settings)
    first = output_bytes()
    shutil.rmtree(".runs")
    run(settings)
    assert output_bytes() == first


def test_checksum_of_another_file(workspace: Path, source_settings: MakeSettings) -> None:
    put({"raw/a.txt": b"A book\n\nwith words\n"})
    with pytest.raises(DataError, match=r"raw/a\.txt: its SHA-256 is [0-9a-f]{64}, but params\.yaml pins 0{64}"):
        run(source_settings("gutenberg", "raw/a.txt#sha256=" + "0" * 64))
    assert not OUTPUT.exists()


def test_changed_file_is_read_again_on_resume(workspace: Path, source_settings: MakeSettings) -> None:
    put({"raw/a.txt": b"Old\n\n" + prose(1).encode()})
    settings = source_settings("gutenberg", "raw/*.txt")
    run(settings)
    put({"raw/a.txt": b"New\n\n" + prose(2).encode()})
    run(settings)
    assert documents.read_table(OUTPUT)["title"].to_pylist() == ["New"]


@pytest.mark.parametrize(
    ("name", "format_", "patterns", "expected"),
    [
        ("wikipedia", "mediawiki", ["en*.bz2"], {"records": 206, "documents": 98, "skipped": 108}),
        ("wikipedia", "mediawiki", ["bg*.bz2"], {"records": 3, "documents": 1, "skipped": 2}),
        ("common_crawl", "warc", ["*.warc.gz", "*.wet.gz"], {"files": 3, "documents": 18, "rejected": 0}),
        ("arxiv", "arxiv", ["*.jsonl"], {"documents": 49, "rejected": 0}),
        ("gutenberg", "gutenberg", ["*.txt"], {"files": 8, "rejected": 0}),
    ],
)
def test_real_sources(
    workspace: Path,
    shared: Path,
    source_settings: MakeSettings,
    name: str,
    format_: str,
    patterns: list[str],
    expected: dict[str, int],
) -> None:
    urls = [f"{shared}/corpora/{name}/{pattern}" for pattern in patterns]
    metrics = run(source_settings(format_, *urls))
    table = documents.read_table(OUTPUT)
    skipped = sum(metrics["skipped"].values())
    assert metrics | {"skipped": skipped} == metrics | {"skipped": skipped} | expected
    assert metrics["records"] == table.num_rows + metrics["rejected"] + skipped
    assert len(set(table["id"].to_pylist())) == table.num_rows
    for row in table.to_pylist():
        assert json.loads(row["meta"])["locator"].startswith(f"{shared}/corpora/{name}/")


def bound_by_permissions() -> None:
    """In a child process: give up root's right to read everything (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH)."""
    if os.geteuid() == 0:
        drop_from_bounding_set = 24
        for capability in (1, 2):
            ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


@pytest.mark.parametrize("locked", ["raw", "raw/00.xml.bz2"])
@pytest.mark.parametrize("pattern", ["raw/*.bz2", "raw/00.xml.bz2", "r*/**/*.bz2"])
def test_missing_permission_is_one_clear_message(workspace: Path, locked: str, pattern: str) -> None:
    put(article_dumps(1))
    Path(locked).chmod(0)
    probe = [sys.executable, "-c", "import os, sys; sys.exit(os.access(sys.argv[1], os.R_OK))", locked]
    if subprocess.run(probe, preexec_fn=bound_by_permissions, check=False).returncode:
        pytest.skip("this user cannot give up reading everything")
    done = subprocess.run(
        command(pattern),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=bound_by_permissions,
    )
    Path(locked).chmod(0o700)
    assert done.returncode == 4, done.stderr
    assert "no permission to use raw" in done.stderr
    assert "check the owner and mode" in done.stderr
    assert "Traceback" not in done.stderr
    assert not OUTPUT.exists()
