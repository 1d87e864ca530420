"""Training depends on the text alone, and a new algorithm is one module and one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from gptoss.config.extensions import TOKENIZERS
from gptoss.config.settings import Settings
from gptoss.core.errors import UserError
from gptoss.tokenizer import bpe
from gptoss.tokenizer.sample import TokenizerSample
from gptoss.tokenizer.train import train_tokenizer
from tests.documents import write_documents
from tests.tokenizer.corpus import ROOT, TRAINERS


@pytest.mark.parametrize("algorithm", sorted(TRAINERS))
def test_training_does_not_depend_on_threads(tmp_path: Path, algorithm: str) -> None:
    code = (
        "import sys; from tests.tokenizer.corpus import TRAINERS, corpus\n"
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


def test_a_new_algorithm_is_one_module_and_one_line(
    workspace: Path, settings_with: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="algorithm is 'toy': choose one of bpe, sentencepiece"):
        settings_with(**{"tokenizer.algorithm": "toy"})
    module = ModuleType("toy_algorithm")
    module.train = bpe.train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_algorithm", module)
    monkeypatch.setitem(TOKENIZERS, "toy", "toy_algorithm")
    write_documents(workspace, [{"id": "a", "text": "some text " * 50, "source": "web"}])
    sample = TokenizerSample(workspace, np.array([True]), 500)
    config = settings_with(**{"tokenizer.algorithm": "toy", "tokenizer.vocab_size": 300}).tokenizer
    assert train_tokenizer(config, sample).token_to_id("<|endoftext|>") == 0
