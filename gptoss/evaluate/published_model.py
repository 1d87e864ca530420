"""The published model, loaded as anyone would load it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from gptoss.config.cluster import load_cluster
from gptoss.core.errors import UserError
from gptoss.core.memory import keep_freed_memory


@dataclass(frozen=True)
class PublishedModel:
    """A published folder in memory."""

    network: Any
    """The stock class of its architecture, in evaluation mode."""
    tokenizer: Any
    """`PreTrainedTokenizerFast`; encoding adds no special tokens."""
    arithmetic: str
    """The dtype that the network computes in."""

    @property
    def context(self) -> int:
        """Positions of the network."""
        return int(self.network.config.max_position_embeddings)

    @property
    def end_of_text(self) -> int:
        """The separator `<|endoftext|>` that starts every document."""
        return int(self.tokenizer.eos_token_id)


def load(folder: Path) -> PublishedModel:
    """Load a published folder, offline: in float16 over all GPUs of this node, or in float32 on one CPU thread. Raises
    `UserError` if `folder` holds no model."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a published model: it has no config.json", "run `dvc repro publish`")
    on_cpu = load_cluster().device == "cpu"
    # Converting float16 weights to float32 is exact, and float32 is much faster than float16 on a CPU.
    dtype = torch.float32 if on_cpu else torch.float16
    if on_cpu:
        torch.set_num_threads(1)  # the last bits of a sum depend on how many threads share it
        keep_freed_memory()  # every generated token reallocates the whole key-value cache
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # prompts longer than the context are counted, not warned about one by one
    # The stock class, not the native decoder of training: what is measured is what a user loads.
    network = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, device_map=None if on_cpu else "auto", local_files_only=True
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return PublishedModel(network, tokenizer, str(dtype).removeprefix("torch."))
