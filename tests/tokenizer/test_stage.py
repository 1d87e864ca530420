"""The stage: its sample, its outputs, and that they do not depend on threads or processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss.config.settings import Settings
from gptoss.core.errors import DataError, UserError
from gptoss.tables.documents import document_id
from gptoss.tokenizer import sample as sample_module
from gptoss.tokenizer.sample import choose
from gptoss.tracking.mlflow_run import StageRun
from stages.tokenizer import tokenizer
from tests.tokenizer.conftest import ROOT, corpus

Clean = Callable[..., None]


def outputs(folder: Path = Path("data/tokenizer")) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("algorithm", ["bpe", "sentencepiece"])
def test_it_writes_the_folder_and_its_figures(
    workspace: Path, clean: Clean, settings_with: Callable[..., Settings], algorithm: str
) -> None:
    clean(code=corpus(), note=["A short note.\n"])
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


@pytest.mark.parametrize("algorithm", ["bpe", "sentencepiece"])
def test_training_does_not_depend_on_threads(tmp_path: Path, algorithm: str) -> None:
    code = (
        "import sys; from tests.tokenizer.conftest import TRAINERS, corpus\n"
        "made = TRAINERS[sys.argv[1]](corpus() * 3, 900, ['<|endoftext|>'])\n"
        "sys.stdout.write(made.to_str())"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", code, algorithm],
            env=os.environ | {"RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true"},
            cwd=ROOT, capture_output=True, check=True,
        ).stdout
        for threads in ("1", "4")
    }  # fmt: skip
    assert len(made) == 1


def test_the_sample_is_seeded_and_within_its_size(workspace: Path, clean: Clean) -> None:
    texts = [f"{number:03d} " * 25 for number in range(100)]
    clean(numbers=texts)
    sample = choose(Path("data/clean"), 1, 3_050)
    chosen = [text for text, _ in sample]
    assert (sample.documents, sample.bytes) == (30, 3_000)
    assert chosen == [text for text in texts if text in chosen], "the order is that of the files"
    assert chosen == [text for text, _ in choose(Path("data/clean"), 1, 3_050)]
    assert chosen != [text for text, _ in choose(Path("data/clean"), 2, 3_050)]
    assert set(chosen) < {text for text, _ in choose(Path("data/clean"), 1, 6_000)}


def test_the_sample_is_what_a_plain_loop_takes(workspace: Path, clean: Clean, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_module, "AT_ONCE", 16)
    texts = ["é" * (number * 37 % 90) for number in range(200)]
    clean(numbers=texts)
    keys = [sample_module._order(1, document_id("numbers", str(number), text)) for number, text in enumerate(texts)]
    for limit in (2, 500, 3_001, 10**6):
        taken, room = set(), limit
        for number in sorted(range(len(texts)), key=keys.__getitem__):
            if 0 < (size := len(texts[number].encode())) <= room:
                taken.add(number)
                room -= size
        sample = choose(Path("data/clean"), 1, limit)
        assert set(sample.chosen.nonzero()[0].tolist()) == taken
        assert sample.bytes == limit - room


def test_choosing_takes_few_bytes_a_document(workspace: Path, clean: Clean) -> None:
    clean(numbers=[f"{number}" for number in range(1_000)])
    keys, sizes = sample_module._keys_and_sizes(Path("data/clean"), 1)
    assert keys.nbytes == sizes.nbytes == 8_000


def test_a_sample_that_cannot_be_drawn_is_explained(workspace: Path, clean: Clean) -> None:
    clean(numbers=["ten bytes." * 10, "ten bytes." * 20])
    with pytest.raises(UserError, match="sample_bytes = 99: the smallest document has 100 bytes"):
        choose(Path("data/clean"), 1, 99)
    clean(numbers=["", ""])
    with pytest.raises(DataError, match="0 bytes of text"):
        choose(Path("data/clean"), 1, 99)


def test_a_small_text_gives_a_smaller_vocabulary(
    workspace: Path, clean: Clean, settings_with: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    clean(note=["only a few words here"])
    metrics = tokenizer(settings_with(), StageRun("tokenizer"))
    assert 260 < metrics["vocab_size"] < 300
    assert "not the 2048 wanted" in capsys.readouterr().err
