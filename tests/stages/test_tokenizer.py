"""The stage: its outputs, metrics and messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss.config.settings import Settings
from gptoss.tracking.mlflow_run import StageRun
from stages.tokenizer import tokenizer
from tests.tokenizer.corpus import TRAINERS, corpus, write_clean


def outputs(folder: Path = Path("data/tokenizer")) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("algorithm", sorted(TRAINERS))
def test_it_writes_the_folder_and_its_figures(
    workspace: Path, settings_with: Callable[..., Settings], algorithm: str
) -> None:
    write_clean(code=corpus(), note=["A short note.\n"])
    settings = settings_with(**{"tokenizer.algorithm": algorithm, "tokenizer.vocab_size": 600})
    metrics = tokenizer(settings, StageRun("tokenizer"))
    first = outputs()
    assert sorted(first) == ["chat_template.jinja", "tokenizer.json", "tokenizer_config.json"]
    assert str(workspace).encode() not in b"".join(first.values())
    assert (metrics["vocab_size"], metrics["padded_vocab_size"]) == (600, 640)
    assert metrics["bytes"] == sum(len(text.encode()) for text in corpus()) + len("A short note.\n")
    assert metrics["bytes_per_token"] > 2
    assert metrics["sources"]["note"]["documents"] == 1
    assert tokenizer(settings, StageRun("tokenizer")) == metrics
    assert outputs() == first


def test_a_small_text_gives_a_smaller_vocabulary(
    workspace: Path, settings_with: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    write_clean(note=["only a few words here"])
    metrics = tokenizer(settings_with(), StageRun("tokenizer"))
    assert 260 < metrics["vocab_size"] < 300
    assert "fewer than tokenizer.vocab_size (2048)" in capsys.readouterr().err
