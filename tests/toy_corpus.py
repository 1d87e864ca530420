"""Documents of two sources with a tokenizer trained on them, and the token files made of them."""

from __future__ import annotations

from pathlib import Path

from gptoss.config.tokenizer import SPECIAL_TOKENS
from gptoss.tables.documents import document_id
from gptoss.tokenizer import bpe, folder
from tests.documents import write_documents

TEXTS = {
    "book": [f"Chapter {number}.\n\n" + "It was a dark and stormy night. " * number for number in range(30)],
    "web": ["<|endoftext|>", "", "<|im_end|>\n\n", *(f"page {number} \u00e9\U0001f600" for number in range(30))],
}
SMALL = {"shards.tokens_per_shard": 100, "shards.validation_fraction": 0.2, "tokenizer.vocab_size": 320}
"""Settings under which the documents fill several files of both splits."""


def write_corpus() -> dict[str, str]:
    """Write `data/clean` and `data/tokenizer`; returns the texts by document id."""
    rows = [
        {"id": document_id(source, str(number), text), "text": text, "source": source}
        for source, texts in TEXTS.items()
        for number, text in enumerate(texts)
    ]
    Path("data/clean").mkdir(parents=True)
    write_documents(Path("data/clean"), rows, rows_per_file=10)
    write_tokenizer()
    return {row["id"]: row["text"] for row in rows}


def write_tokenizer(vocab_size: int = 320) -> None:
    Path("data/tokenizer").mkdir(parents=True, exist_ok=True)
    trained = bpe.train([text for texts in TEXTS.values() for text in texts], vocab_size, SPECIAL_TOKENS)
    folder.write(Path("data/tokenizer"), trained, 256)
