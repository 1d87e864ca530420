"""`gptoss plan`: what would run and why, without running it; mistakes end in one message."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gptoss.cli import plan
from gptoss.cli.__main__ import main
from gptoss.config.yaml_sections import load_yaml
from tests.conftest import ROOT


def test_the_reasons_why_a_stage_would_run() -> None:
    changes: list[Any] = [
        {"changed deps": {"stages/dedup": "modified", "data/curated": "deleted", "params.yaml": {"seed": "modified"}}},
        {"changed outs": {"data/deduped": "not in cache", "metrics/dedup.json": "not in cache"}},
        "changed command",
    ]
    assert plan.reasons(changes, ["curate@web"]) == [
        "changed command",
        "changed: stages/dedup modified, params.yaml: seed modified",
        "missing: data/deduped",
        "after curate@web",
    ]
    assert plan.reasons(changes[:1], []) == [
        "changed: stages/dedup modified, data/curated deleted, params.yaml: seed modified"
    ]
    assert plan.shorten(list("abcdefg")) == "a, b, c, d and 3 more"


@pytest.fixture
def checkout(workspace: Path, settings_with: Callable[..., Any]) -> Path:
    """A DVC project with the shipped stages and two sources of local files, in which nothing has run."""
    sources = {
        name: {"format": format_, "urls": [f"raw/*.{ending}"], "license": "L", "language": "en"}
        for name, format_, ending in (("wiki", "mediawiki", "xml"), ("books", "gutenberg", "txt"))
    }
    Path("raw").mkdir()
    Path("raw/a.xml").write_bytes(b"x" * 2_000_000)
    Path("raw/b.txt").write_bytes(b"x" * 1_000_000)
    values = load_yaml(ROOT / "profiles/tiny.yaml") | {"sources": sources}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], check=True)
    return workspace


def written_files() -> set[Path]:
    """All files but those that DVC keeps for itself."""
    return {path for path in Path().rglob("*") if path.is_file() and path.parts[0] != ".dvc"}


def test_the_plan_of_a_checkout_where_nothing_has_run(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = written_files()
    assert main(["run", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "17 of 17 would run" in printed and "missing: data/documents/wiki" in printed
    assert "mediawiki  1 file, 2 MB" in printed and "gutenberg  1 file, 1 MB" in printed
    assert "no runs in this checkout yet" in printed and " tokens" in printed
    assert main(["plan", "books"]) == 0
    named = capsys.readouterr().out
    assert "ingest@books" in named and "wiki" not in named
    assert main(["run", "--dry-run", "--target", "curate@wiki"]) == 0
    target = capsys.readouterr().out
    assert "2 of 2 would run" in target and "dedup" not in target
    code = {path for path in written_files() if path.is_relative_to("data/code")}
    assert written_files() - code - {Path(".runs/code-syntax.json")} == before, "only the identity of the code"


def test_urls_are_planned_without_a_configuration(
    workspace: Path, crawl: str, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = ["--url", f"{crawl}/crawl/0.warc.gz", "--url", f"{crawl}/absent.warc.gz"]
    assert main(["plan", *urls, "--format", "warc"]) == 0
    printed = capsys.readouterr().out
    assert "2 files, about 2 kB: 1 have 1 kB" in printed and "! no size of" in printed and "ingest@urls" in printed
    assert main(["plan", "--url", f"{crawl}/absent.warc.gz", "--format", "warc"]) == 0
    assert "Estimate: none, as the size of no raw file is known" in capsys.readouterr().out


def test_wrong_options_end_in_one_message(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "nothing"]) == 2
    assert "params.yaml has no source nothing" in capsys.readouterr().err
    assert main(["plan", "--url", "x"]) == 2
    assert "--url and --format go together" in capsys.readouterr().err
    assert main(["plan", "--url", "x", "--format", "warc", "--max-files", "0"]) == 2
    assert "max_files" in capsys.readouterr().err
