"""Small tokenizers of each algorithm, trained once per session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gptoss.config.tokenizer import SPECIAL_TOKENS
from gptoss.tokenizer import folder
from tests.tokenizer.corpus import TRAINERS, corpus


@pytest.fixture(scope="session", params=sorted(TRAINERS))
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer folder of each algorithm: 600 tokens, a context of 256."""
    made = tmp_path_factory.mktemp(request.param)
    folder.write(made, TRAINERS[request.param](corpus(), 600, SPECIAL_TOKENS), 256)
    return made


@pytest.fixture(scope="session")
def loaded(saved: Path) -> Any:
    """The same folders, as transformers loads them."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(saved))
