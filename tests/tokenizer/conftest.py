"""Small tokenizers, trained once a session on text of this repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gptoss.config.tokenizer import SPECIAL_TOKENS
from gptoss.tables.documents import document_id, write_documents
from gptoss.tokenizer import bpe, folder, sentencepiece

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
TRAINERS = {"bpe": bpe.train, "sentencepiece": sentencepiece.train}


def corpus() -> list[str]:
    """Prose and code: the sources of the tests and stages."""
    return [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("stages/tokenizer/*.py"))]


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


@pytest.fixture
def clean() -> Callable[..., None]:
    """Write texts as `data/clean` of the working directory: `clean(book=["…"], web=["…", "…"])`."""

    def write(**sources: list[str]) -> None:
        target = Path("data/clean")
        target.mkdir(parents=True, exist_ok=True)
        write_documents(
            target,
            (
                {"id": document_id(source, str(number), text), "text": text, "source": source}
                for source, texts in sources.items()
                for number, text in enumerate(texts)
            ),
            rows_per_file=7,
        )

    return write
