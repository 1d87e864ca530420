"""The stage as a whole: what it writes, when it refuses, and that a killed run ends like an undisturbed one."""

from __future__ import annotations

import bz2
import ctypes
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import DataError
from gptoss.tables import documents
from gptoss.tracking.mlflow_run import StageRun
from stages.ingest import ingest
from tests.conftest import ROOT
from tests.ingest.conftest import dump, page, prose

MakeSettings = Callable[..., Settings]
OUTPUT = paths.documents("sample")


def run(settings: Settings) -> Any:
    return ingest(settings, StageRun("ingest@sample"), "sample")


def article_dumps(count: int, pages: int = 4) -> dict[str, bytes]:
    """`raw/00.xml.bz2` …, each with distinct articles."""
    return {
        f"raw/{number:02d}.xml.bz2": bz2.compress(
            dump(*(page(f"A{number}-{i}", number * 100 + i + 1, prose(number * 100 + i, 60)) for i in range(pages)))
        )
        for number in range(count)
    }


def put(files: dict[str, bytes], folder: Path = Path()) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def output_bytes(folder: Path = Path()) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / OUTPUT).iterdir())}


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


def test_checksum_of_another_file(workspace: Path, source_settings: MakeSettings) -> None:
    put({"raw/a.txt": b"A book\n\nwith words\n"})
    with pytest.raises(DataError, match=r"raw/a\.txt: its SHA-256 is [0-9a-f]{64}, but params\.yaml pins 0{64}"):
        run(source_settings("gutenberg", "raw/a.txt#sha256=" + "0" * 64))
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


# --- in a process of its own -------------------------------------------------------------------------------------

PROGRAM = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from gptoss.config.section import check, load_yaml
    from gptoss.tracking.runner import guarded
    from stages.ingest import plan
    from stages.ingest.__main__ import ingest
    from gptoss.config.settings import Settings
    from gptoss.tracking.mlflow_run import StageRun

    plan.MAX_FILES = 2
    values = load_yaml(Path(sys.argv[1]))
    values["sources"] = {"sample": {"format": "mediawiki", "urls": sys.argv[2:], "license": "L", "language": "en"}}
    values["ingest"]["documents_per_file"] = 50
    settings = check(Settings, values, origin="test")
    sys.exit(guarded(lambda: ingest(settings, StageRun("ingest@sample"), "sample")))
    """
)


def command(*urls: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(ROOT / "profiles" / "tiny.yaml"), *urls]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def test_killed_in_the_middle_of_a_file_and_continued(workspace: Path) -> None:
    """The third file is a pipe that delivers half of its bytes and then nothing: the stage is killed right there."""
    files = article_dumps(5, pages=40)
    urls = sorted(files)
    put(files, workspace / "straight")
    put(files, workspace / "killed")
    for folder in ("straight", "killed"):
        (workspace / folder / "infra").symlink_to(workspace / "infra")
    pipe = workspace / "killed" / urls[2]
    pipe.unlink()
    os.mkfifo(pipe)
    process = subprocess.Popen(command(*urls), cwd=workspace / "killed", env=environment(), stderr=subprocess.DEVNULL)
    state = workspace / "killed" / StageRun("ingest@sample").state
    with pipe.open("wb") as half:  # returns when the stage opens it, too
        half.write(files[urls[2]][: len(files[urls[2]]) // 2])
        half.flush()
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (workspace / "killed" / OUTPUT).exists()
    finished = {path: path.stat().st_mtime_ns for path in state.glob("read/*.json")}
    assert [path.name for path in finished] == ["000000.json"]
    pipe.unlink()
    put({urls[2]: files[urls[2]]}, workspace / "killed")
    for folder in ("killed", "straight"):
        subprocess.run(command(*urls), cwd=workspace / folder, env=environment(), check=True)
    assert output_bytes(workspace / "killed") == output_bytes(workspace / "straight")
    assert len(documents.read_table(workspace / "killed" / OUTPUT)) == 5 * 40
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in finished.items())


@pytest.mark.slow
def test_killed_at_any_point_and_continued(workspace: Path) -> None:
    """Killed five times, at moments spread over the time that an undisturbed run takes, wherever it is then."""
    files = article_dumps(40, pages=30)
    for folder in ("straight", "killed"):
        put(files, workspace / folder)
        (workspace / folder / "infra").symlink_to(workspace / "infra")
    started = time.monotonic()
    subprocess.run(command("raw/*.bz2"), cwd=workspace / "straight", env=environment(), check=True)
    whole = time.monotonic() - started
    chance = random.Random(7)
    killed = 0
    while killed < 5:
        process = subprocess.Popen(command("raw/*.bz2"), cwd=workspace / "killed", env=environment())
        try:
            process.wait(whole * chance.uniform(0.3, 0.9))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if not process.returncode:
            assert output_bytes(workspace / "killed") == output_bytes(workspace / "straight")
            shutil.rmtree(workspace / "killed" / OUTPUT)
            shutil.rmtree(workspace / "killed" / ".runs")
    subprocess.run(command("raw/*.bz2"), cwd=workspace / "killed", env=environment(), check=True)
    assert output_bytes(workspace / "killed") == output_bytes(workspace / "straight")
    assert not [path for path in (workspace / "killed" / OUTPUT).parent.iterdir() if path.name.startswith(".")]


def bound_by_permissions() -> None:
    """In a child process: give up root's right to read everything (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH)."""
    if os.geteuid() == 0:
        drop_from_bounding_set = 24
        for capability in (1, 2):
            ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


@pytest.mark.parametrize("locked", ["raw", "raw/00.xml.bz2"])
@pytest.mark.parametrize("pattern", ["raw/*.bz2", "raw/00.xml.bz2", "r*/**/*.bz2"])
def test_no_permission_is_one_clear_message(workspace: Path, locked: str, pattern: str) -> None:
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
