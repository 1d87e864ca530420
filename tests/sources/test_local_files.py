"""Local paths and globs."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss.core.errors import UserError
from gptoss.sources.resolve_urls import local_files
from tests.sources.test_resolve_urls import urls


def test_local_paths_and_globs(tree: Path) -> None:
    assert urls("raw/*.gz", "raw/a.gz") == ["raw/[odd].gz", "raw/a.gz", "raw/b.gz"]
    assert urls("raw/**/*.gz") == ["raw/[odd].gz", "raw/a.gz", "raw/b.gz", "raw/deep/er/c.gz"]
    assert urls("raw/*/d.txt", "raw/[odd].gz") == ["raw/[odd].gz", "raw/deep/d.txt"]
    assert urls((tree / "raw/a.gz").as_uri()) == [str(tree / "raw/a.gz")]
    assert urls(f"{tree}/raw/?.gz") == [f"{tree}/raw/a.gz", f"{tree}/raw/b.gz"]


def test_a_file_in_the_place_of_a_folder_matches_nothing(tree: Path) -> None:
    with pytest.raises(UserError, match="no file matches"):
        local_files("raw/a.gz/*.gz")
