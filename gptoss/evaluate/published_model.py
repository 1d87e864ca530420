"""The published model, loaded as anyone would load it, and ready to be measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptoss.config.cluster import load_cluster
from gptoss.core.errors import UserError


@dataclass(frozen=True)
class PublishedModel:
    """A published folder in memory."""

    network: Any
    """The stock class of its architecture, in evaluation mode."""
    tokenizer: Any
    """`PreTrainedTokenizerFast`; encoding adds no special tokens."""
    arithmetic: str
    """The type the network computes in."""

    @property
    def context(self) -> int:
        """Positions of the network."""
        return int(self.network.config.max_position_embeddings)

    @property
    def end_of_text(self) -> int:
        """The separator `<|endoftext|>` that starts every document."""
        return int(self.tokenizer.eos_token_id)


def load(folder: Path) -> PublishedModel:
    """Load a published folder, offline. On GPUs (spread over all of this node) the network computes in float16, as
    published; on a CPU the same float16 weights are widened to float32, which is exact and much faster there, and
    one thread does the sums, because their last bits depend on how many threads share them. Raises `UserError` when
    there is no such folder."""
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a published model: it has no config.json", "run `dvc repro publish`")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    from gptoss.core.memory import keep_freed_memory

    on_cpu = load_cluster().device == "cpu"
    dtype = torch.float32 if on_cpu else torch.float16
    if on_cpu:
        torch.set_num_threads(1)
        keep_freed_memory()  # each token of an answer makes the whole key-value cache anew
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # prompts longer than the context are counted, not warned about one by one
    network = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, device_map=None if on_cpu else "auto", local_files_only=True
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return PublishedModel(network, tokenizer, str(dtype).removeprefix("torch."))
