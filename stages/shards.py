"""Encode the clean documents as files of token ids.

In: `data/clean`, `data/tokenizer`. Out, in `data/shards`: per split `SPLIT-00000.bin` … (flat little-endian token ids;
each document is `<|endoftext|>` and its tokens, the documents of a source are contiguous) and `documents-SPLIT.parquet`
(where each document begins); `index.json` (sizes, checksums, counts, first token of each source). Read them with
`gptoss.tables.token_files.TokenSplit`.

Documents are held out for validation by a hash of (seed, id). Text is never parsed for special tokens: "<|im_end|>" in
a document is encoded as ordinary characters.
Errors: too few documents for both splits; documents that are not in order of source; a tokenizer larger than the padded
vocabulary; a full disk. The folder is written as a whole or not at all.
"""

from __future__ import annotations

import os

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import atomic_folder, sha256_file, write_json
from gptoss.core.progress import progress
from gptoss.tables.token_files import INDEX, token_dtype
from gptoss.tokenizer.encode import encode_documents, load_tokenizer
from gptoss.tokenizer.split_writer import SplitWriter
from gptoss.tokenizer.splits import SPLITS, split_of, validate_documents
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage


def shards(settings: Settings, run: StageRun) -> Metrics:
    """Encode every document once and write it to its split."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"  # safe: this process does not fork, and threads change no result
    document_count = validate_documents(paths.CLEAN, settings)
    tokenizer, separator = load_tokenizer(paths.TOKENIZER, settings.tokenizer)
    dtype = token_dtype(settings.tokenizer.padded_vocab_size)
    encoded = encode_documents(paths.CLEAN, tokenizer, separator, dtype)
    with atomic_folder(paths.SHARDS) as folder:
        writers = {split: SplitWriter(folder, split, settings.shards.tokens_per_shard) for split in SPLITS}
        for document in progress(encoded, "shards", total=document_count, unit="documents"):
            writers[split_of(document.id, settings)].add(document)
        index = {
            "dtype": dtype.name,
            "vocab_size": settings.tokenizer.padded_vocab_size,
            "tokenizer_sha256": sha256_file(paths.TOKENIZER / "tokenizer.json"),
            "splits": {split: writer.close() for split, writer in writers.items()},
        }
        write_json(folder / INDEX, index)
    return {split: writer.metrics() for split, writer in writers.items()}


if __name__ == "__main__":
    run_stage(shards, "shards")
