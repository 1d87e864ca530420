"""Hostile raw files, through the whole stage: nothing hangs, memory stays bounded, every record is accounted for."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import DataError
from gptoss.formats.records import Document, Rejection, Skip
from gptoss.sources.streams import DamagedError
from gptoss.tables import documents
from gptoss.tracking.mlflow_run import StageRun
from stages.ingest import ingest
from tests.conftest import ROOT
from tests.raw_files import dump, page, prose

MakeSettings = Callable[..., Settings]


OUTPUT = paths.documents("sample")


PROGRAM = textwrap.dedent(
    """
    import json, sys
    from pathlib import Path
    from gptoss.config.yaml_sections import check, load_yaml
    from gptoss.config.settings import Settings
    from gptoss.tracking.mlflow_run import StageRun
    from stages.ingest import ingest

    values = load_yaml(Path(sys.argv[1]))
    sample = {"format": sys.argv[2], "urls": ["raw/*"], "license": "L", "language": "en"}
    values["sources"], values["ingest"]["max_reject_fraction"] = {"sample": sample}, 0.99
    metrics = ingest(check(Settings, values, origin="test"), StageRun("ingest@sample"), "sample")
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent, from which this was forked
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    print(json.dumps({**metrics, "peak": peak}))
    """
)


def run_apart(format_: str) -> dict[str, Any]:
    """The stage over `raw/*` in its own process: its metrics and its peak memory in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT / "profiles" / "tiny.yaml"), format_],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def adds_up(metrics: dict[str, Any]) -> bool:
    """Records in = documents + rejected + skipped, in the metrics, in `files.json` and in the tables."""
    files = read_json(OUTPUT / "files.json")["files"]
    rejections = Counter(pq.read_table(OUTPUT / "rejected.parquet")["reason"].to_pylist())
    return bool(
        metrics["records"] == metrics["documents"] + metrics["rejected"] + sum(metrics["skipped"].values())
        and all(file["records"] == file["documents"] + file["rejected"] + file["skipped"] for file in files)
        and metrics["records"] == sum(file["records"] for file in files)
        and metrics["documents"] == documents.read_table(OUTPUT).num_rows
        and metrics["rejected_by"] == rejections
        and metrics["rejected"] == rejections.total()
    )


def paper(number: int) -> bytes:
    return json.dumps({"id": f"2001.{number:05d}", "title": f"T{number}", "abstract": prose(number)}).encode() + b"\n"


GOOD = {
    "arxiv": paper(1) + paper(2),
    "gutenberg": b"A BOOK\n\n" + prose(1).encode(),
    "mediawiki": dump(page("A", 1, prose(1)), page("B", 2, prose(2))),
    "warc": b"".join(
        b"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: http://a.example/%d\r\nContent-Length: %d\r\n\r\n"
        b"%s\r\n\r\n" % (number, len(prose(number)), prose(number).encode())
        for number in (1, 2)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("format_", GOOD)
def test_bombs_and_endless_lines_stay_in_bounded_memory(workspace: Path, format_: str) -> None:
    """10 GB of zeros, an endless line of words, and intact records before 1 GB of NUL, one file after the other."""
    Path("raw").mkdir()
    Path("raw/a").write_bytes(GOOD[format_])
    mebibyte = bytes(1 << 20)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as out:
        for _ in range(256):
            out.write(mebibyte)
    Path("raw/b.gz").write_bytes(packed.getvalue() * 40)
    Path("raw/c.bz2").write_bytes(bz2.compress(b"word " * (2 << 20)) * 40)
    with Path("raw/d").open("wb") as sparse:
        sparse.write(GOOD[format_])
        sparse.truncate(1 << 30)
    metrics = run_apart(format_)
    assert adds_up(metrics)
    assert metrics["files"] == 4
    assert metrics["documents"] >= 1
    assert metrics["rejected"] >= 3
    assert metrics["peak"] < 600 * 2**20


@pytest.mark.parametrize("format_", GOOD)
def test_damaged_files_of_every_kind(workspace: Path, source_settings: MakeSettings, format_: str) -> None:
    good = GOOD[format_]
    harmed = {
        "cut.gz": gzip.compress(good)[:-9],
        "flipped.bz2": (lambda raw: raw[:-30] + bytes([raw[-30] ^ 8]) + raw[-29:])(bz2.compress(good)),
        "cut.xz": lzma.compress(good)[:-20],
        "second member.gz": gzip.compress(good) + gzip.compress(os.urandom(3000))[:1000],
        "empty": b"",
        "empty.gz": gzip.compress(b""),
        "not utf-8": good.replace(b"river", b"ri\xff\xfever"),
        "nul": good.replace(b"river", b"ri\0ver"),
        "punctuation": good.replace(b"Sentence", b"!?.,;:"),
        "twice": good + good if format_ != "mediawiki" else good,
        "copy": good,
        "whole": good,
    }
    Path("raw").mkdir()
    for name, data in harmed.items():
        Path("raw", name).write_bytes(data)
    metrics = ingest(source_settings(format_, "raw/*", max_reject_fraction=0.99), StageRun("ingest@sample"), "sample")
    assert adds_up(dict(metrics))
    assert metrics["files"] == len(harmed)
    assert 3 <= metrics["damaged_files"] < len(harmed) - 3
    table = documents.read_table(OUTPUT)
    locators = [json.loads(meta)["locator"] for meta in table["meta"].to_pylist()]
    assert all(locator.startswith("raw/") for locator in locators)
    assert len(set(locators)) >= len(locators) // 2
    assert {"raw/copy", "raw/whole"} <= {locator.partition("#")[0] for locator in locators}
    assert "\0" not in "".join(table["text"].to_pylist())


def test_an_empty_source(workspace: Path, source_settings: MakeSettings) -> None:
    Path("none.paths").write_bytes(b"\n")
    Path("empty").write_bytes(b"")
    for url, format_ in (("none.paths", "warc"), ("empty", "arxiv"), ("empty", "gutenberg")):
        with pytest.raises(DataError, match="gave no document"):
            ingest(source_settings(format_, url), StageRun("ingest@sample"), "sample")


def test_every_kind_of_record_is_counted(
    workspace: Path, source_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> Any:
        yield Document("u", "t\0", "text \ud800", locator="line 3")
        yield Document("u", "t", " \n ")
        yield Rejection("line 5" * 1000, "bad", "why" * 1000)
        yield Skip("dull")
        raise DamagedError("it ends here")

    monkeypatch.setattr("gptoss.formats.arxiv.read", read)
    Path("x").write_bytes(b"x")
    metrics = ingest(source_settings("arxiv", "x", max_reject_fraction=1.0), StageRun("ingest@sample"), "sample")
    assert adds_up(dict(metrics))
    assert (metrics["records"], metrics["rejected_by"]) == (5, {"bad": 1, "damaged": 1})
    assert metrics["skipped"] == {"dull": 1, "empty": 1}
    (row,) = documents.read_table(OUTPUT).to_pylist()
    assert (row["text"], row["title"], json.loads(row["meta"])) == ("text \ufffd", "t\ufffd", {"locator": "x#line=3"})
