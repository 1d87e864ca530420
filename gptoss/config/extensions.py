"""Names that configuration may use for a module of the library: a line per reader, tokenizer, objective, architecture.

Adding one touches its new module and its line here. Only the module that a run selects is code of that run: this file
decides no result, so a new line reruns nothing (`gptoss/code_identity`). It imports nothing, so that configuration can
be checked without torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType

READERS = {
    "arxiv": "gptoss.formats.arxiv",
    "gutenberg": "gptoss.formats.gutenberg",
    "mediawiki": "gptoss.formats.mediawiki",
    "warc": "gptoss.formats.warc",
}
"""`sources.NAME.format`: modules with a function `read` (`gptoss.formats.records.Reader`)."""

TOKENIZERS = {
    "bpe": "gptoss.tokenizer.bpe",
    "sentencepiece": "gptoss.tokenizer.sentencepiece",
}
"""`tokenizer.algorithm`: modules with a function `train` and a `DESCRIPTION` (`gptoss/tokenizer/__init__.py`)."""

OBJECTIVES = {
    "causal_lm": "gptoss.train.objectives.causal_lm",
    "fill_in_the_middle": "gptoss.train.objectives.fill_in_the_middle",
}
"""`pretrain.objective`: modules with a function `examples` (`gptoss.train.objectives.Objective`)."""

ARCHITECTURES = {
    "llama": "gptoss.models.llama",
    "gpt_neox": "gptoss.models.gpt_neox",
}
"""`model.architecture`: modules as `gptoss/models/architecture.py` describes them."""

SELECTED_BY = {
    "READERS": "sources.*.format",
    "TOKENIZERS": "tokenizer.algorithm",
    "OBJECTIVES": "pretrain.objective",
    "ARCHITECTURES": "model.architecture",
}
"""The key of `params.yaml` that selects a module of each table."""


def load(table: Mapping[str, str], name: str) -> ModuleType:
    """Import the module that `table` lists under `name`."""
    return importlib.import_module(table[name])


def require_registered(key: str, name: str, table: Mapping[str, str]) -> None:
    """Raise `ValueError` with the allowed names when `table` does not list `name`."""
    if name not in table:
        raise ValueError(f"{key} is {name!r}: choose one of {', '.join(table)}")
