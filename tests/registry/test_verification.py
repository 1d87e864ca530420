"""`lineage --verify` against the cache of a real DVC project: altered or missing bytes are never confirmed."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss.core.errors import DataError
from gptoss.registry import lineage
from gptoss.registry.sealing import SealedVersion
from gptoss.registry.verification import Verifier, cache_path
from gptoss.tracking import provenance

FOLDER = "data/documents/x"
INGEST = """
import hashlib, json, pathlib
raw, folder = pathlib.Path("raw.txt").resolve(), pathlib.Path("data/documents/x")
folder.mkdir(parents=True)
(folder / "part").write_bytes(raw.read_bytes())
file = {"url": str(raw), "sha256": hashlib.sha256(raw.read_bytes()).hexdigest(), "bytes": 3}
(folder / "files.json").write_text(json.dumps({"files": [file]}))
"""
PIPELINE = f'stages:\n  ingest:\n    foreach: [x]\n    do: {{cmd: python ingest.py, outs: ["{FOLDER}"]}}\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project with one ingest stage that ran."""
    place = tmp_path_factory.mktemp("project")
    for name, text in (("raw.txt", "raw"), ("ingest.py", INGEST), ("dvc.yaml", PIPELINE)):
        (place / name).write_text(text)
    for command in (["init", "-q", "--no-scm"], ["config", "core.analytics", "false"], ["repro", "-q"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], check=True, cwd=place)
    return place


@pytest.fixture
def listing(made: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder's listing in the cache of a copy of that project, whose outputs are in the cache alone."""
    shutil.copytree(made, workspace, dirs_exist_ok=True)
    md5 = provenance.output_hash(FOLDER)
    sealed = SealedVersion("m", "1", FOLDER, "", "", md5, provenance.lock_entries(), {})
    monkeypatch.setattr(lineage, "load_sealed", lambda _: sealed)
    monkeypatch.setattr(Verifier, "check_signature", lambda _: None)
    Path("data").rename("elsewhere")
    cache_path(md5).chmod(0o644)
    return cache_path(md5)


def test_intact_bytes_are_confirmed_to_the_raw_file(listing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lineage.show("m@champion", verify=True)
    assert "2 hashes recomputed and equal, 0 not" in capsys.readouterr().out


def empty_listing(_: str) -> str:
    return "[]"


def listing_of_another_file(text: str) -> str:
    other = hashlib.md5(b"other").hexdigest()
    cache_path(other).parent.mkdir(exist_ok=True)
    cache_path(other).write_bytes(b"other")
    entries = json.loads(text)
    entries[1]["md5"] = other
    return json.dumps(entries)


@pytest.mark.parametrize("alter", [empty_listing, listing_of_another_file])
def test_an_altered_listing_is_found(listing: Path, alter: Callable[[str], str]) -> None:
    listing.write_text(alter(listing.read_text()))
    with pytest.raises(DataError) as found:
        lineage.show("m@champion", verify=True)
    assert f"{FOLDER}: no bytes here have the hash" in found.value.problem
    assert "ingest@x: its list of raw files" in found.value.problem


def test_raw_files_that_are_not_listed_are_reported(listing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listing.unlink()
    lineage.show("m@champion")
    assert "raw files not known" in capsys.readouterr().out
    with pytest.raises(DataError, match="ingest@x: its list of raw files"):
        lineage.show("m@champion", verify=True)
    Path("elsewhere").rename("data")
    lineage.show("m@champion", verify=True)  # the workspace has the same bytes
