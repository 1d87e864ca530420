"""Documents to token ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gptoss.config.tokenizer import TokenizerConfig
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import UserError
from gptoss.tables.documents import read_batches
from gptoss.tokenizer import folder as tokenizer_folder
from gptoss.tokenizer.text_batches import text_batches

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Read from Parquet at a time: some documents are whole books.
DOCUMENTS_PER_BATCH = 64


@dataclass(frozen=True)
class EncodedDocument:
    """A document as token ids, starting with the separator."""

    id: str
    source: str
    text_bytes: int
    """UTF-8 bytes of the text."""
    ids: npt.NDArray[Any]
    """Shape (tokens,)."""


def load_tokenizer(folder: Path, config: TokenizerConfig) -> tuple[Tokenizer, int]:
    """Return the tokenizer for documents and the id of the document separator.

    Errors: `UserError` when there is no tokenizer, or its ids exceed the padded vocabulary.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{path} does not exist", "run `dvc repro tokenizer`")
    tokenizer = tokenizer_folder.read(folder)
    if (size := tokenizer.get_vocab_size()) > config.padded_vocab_size:
        raise UserError(
            f"{path} has {size} tokens, more than tokenizer.vocab_size({config.vocab_size}) padded to "
            f"a multiple of {config.pad_to_multiple_of} = {config.padded_vocab_size}",
            "run `dvc repro tokenizer`: the parameters changed after it was trained",
        )
    # Read from the configuration, not from END_OF_TEXT: the tokenizer of an open model has one of its own.
    separator: int = tokenizer.token_to_id(read_json(folder / "tokenizer_config.json")["eos_token"])
    return tokenizer, separator


def encode_documents(
    folder: Path, tokenizer: Tokenizer, separator: int, dtype: np.dtype[Any]
) -> Iterator[EncodedDocument]:
    """Encode the documents of `folder` in order."""
    batches = read_batches(folder, ["id", "source", "text"], rows=DOCUMENTS_PER_BATCH)
    documents = (document for batch in batches for document in batch.to_pylist())
    for group in text_batches(documents, lambda document: str(document["text"])):
        encodings = tokenizer.encode_batch_fast([document["text"] for document in group], add_special_tokens=False)
        for document, encoding in zip(group, encodings, strict=True):
            ids = np.array([separator, *encoding.ids], dtype=dtype)
            # Bytes are counted here, where the text is in memory: bits per byte needs them, tokens do not give them.
            yield EncodedDocument(document["id"], document["source"], len(document["text"].encode()), ids)
