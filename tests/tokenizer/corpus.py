"""Text to train small tokenizers on, and the documents that the stage reads."""

from __future__ import annotations

from pathlib import Path

from gptoss.config.extensions import TOKENIZERS, load
from gptoss.tables.documents import document_id
from tests.documents import write_documents

ROOT = Path(__file__).resolve().parents[2]
TRAINERS = {algorithm: load(TOKENIZERS, algorithm).train for algorithm in TOKENIZERS}


def corpus() -> list[str]:
    """Prose and code: the modules of the tokenizer package."""
    return [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("gptoss/tokenizer/*.py"))]


def write_clean(**sources: list[str]) -> None:
    """Write texts as `data/clean` of the working directory: `write_clean(book=["…"], web=["…", "…"])`."""
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
