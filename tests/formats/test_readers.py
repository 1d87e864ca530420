"""Readers are found by name, and a new one needs its module and one line in `READERS`."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from gptoss.config.extensions import READERS, load
from gptoss.config.settings import Settings
from gptoss.config.source import SourceConfig
from gptoss.core import paths
from gptoss.estimate.rates import Rates
from gptoss.tables import documents
from gptoss.tracking.mlflow_run import StageRun
from stages.ingest import ingest

READER = textwrap.dedent(
    '''
    """One document per line."""

    from gptoss.formats.records import Document
    from gptoss.sources.streams import lines


    def read(stream, origin, source):
        for number, line in lines(stream):
            yield Document(f"{origin}#{number}", "", line.decode(), locator=f"line {number}")
    '''
)


@pytest.fixture
def new_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "one_per_line.py").write_text(READER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(READERS, "lines", "one_per_line")
    monkeypatch.delitem(sys.modules, "one_per_line", raising=False)
    return "lines"


@pytest.mark.parametrize("name", READERS)
def test_every_reader_has_the_function_read(name: str) -> None:
    assert callable(load(READERS, name).read)


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(ValidationError, match="format is 'pdf': choose one of arxiv, gutenberg, mediawiki, warc"):
        SourceConfig(format="pdf", urls=("x",), license="L", language="en")


def test_a_new_reader_needs_its_module_and_its_name(
    workspace: Path, settings_with: Callable[..., Settings], new_format: str
) -> None:
    Path("a.txt").write_text("one\ntwo\n")
    sample = {"format": new_format, "urls": ["a.txt"], "license": "L", "language": "en"}
    ingest(settings_with(sources={"sample": sample}), StageRun("ingest@sample"), "sample")
    assert documents.read_table(paths.documents("sample"))["text"].to_pylist() == ["one", "two"]


def test_a_new_format_is_estimated_with_the_rates_for_any(workspace: Path, new_format: str) -> None:
    rates = Rates({"sample": new_format})
    assert rates.of("ingest", new_format, 1e9) == rates.of("ingest", "", 1e9)
    assert rates.of("curate", new_format, 1e9).bytes_per_second > 0
