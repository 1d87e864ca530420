"""Train the tokenizer.

In: the clean documents. Out: `data/tokenizer`, a `PreTrainedTokenizerFast` folder with special tokens and a ChatML
template.
Errors: no text; no document that fits into `tokenizer.sample_bytes`; a vocabulary too small for the characters of the
text (SentencePiece). A tokenizer that does not decode every text of the sample to itself, or whose chat template marks
other tokens than the assistant's, is never written.
References: byte-level BPE (`gptoss/tokenizer/bpe.py`), SentencePiece BPE (`gptoss/tokenizer/sentencepiece.py`).
"""

from __future__ import annotations

import os

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import atomic_folder
from gptoss.core.progress import progress
from gptoss.tokenizer import folder
from gptoss.tokenizer.load_check import check_loads
from gptoss.tokenizer.round_trip import check_round_trip
from gptoss.tokenizer.sample import draw_sample
from gptoss.tokenizer.train import tokenizer_metrics, train_tokenizer
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage


def tokenizer(settings: Settings, run: StageRun) -> Metrics:
    """Draw a sample, train, write, and check the round trip on the whole sample."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true"  # safe: this process does not fork, and threads change no result
    sample = draw_sample(paths.CLEAN, settings.seed, settings.tokenizer.sample_bytes)
    trained = train_tokenizer(settings.tokenizer, sample)
    with atomic_folder(paths.TOKENIZER) as partial:
        folder.write(partial, trained, settings.model.context)
        check_loads(partial, settings.model.context)
        documents = progress(sample, "round trip", total=sample.documents, unit="documents")
        counts = check_round_trip(folder.read(partial), documents)
    return tokenizer_metrics(settings.tokenizer, trained.get_vocab_size(), counts)


if __name__ == "__main__":
    run_stage(tokenizer, "tokenizer")
