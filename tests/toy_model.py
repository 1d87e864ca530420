"""Random Llamas of a few thousand parameters and byte-level BPE tokenizers: the inputs of tests that need a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gptoss.config.settings import Settings
    from gptoss.models.decoder import Decoder

# Rows of the embedding of `initialised_decoder`.
VOCABULARY = 320


def byte_bpe(texts: Iterable[str], vocab_size: int, special_tokens: Sequence[str]) -> Any:
    """A byte-level BPE (`tokenizers.Tokenizer`), trained on `texts`; special tokens have the first ids."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(special_tokens), show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def random_llama(vocab_size: int, context: int, *, hidden_size: int = 32, seed: int = 0, **config: Any) -> Any:
    """A float32 `LlamaForCausalLM` with two layers and two heads; `config` adds entries of `LlamaConfig`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    sizes = {
        "vocab_size": vocab_size, "hidden_size": hidden_size, "intermediate_size": 2 * hidden_size,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": context,
        "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1,
    }  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**sizes | config))


def write_toy_model(folder: Path, *, seed: int = 0) -> Path:
    """Write a float16 `LlamaForCausalLM` and a tokenizer that `AutoModelForCausalLM`/`AutoTokenizer` load."""
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"]
    vocab_size, context = len(special) + 256, 64
    fast = PreTrainedTokenizerFast(
        tokenizer_object=byte_bpe([], vocab_size, special), bos_token=special[0], eos_token=special[0],
        pad_token=special[1], additional_special_tokens=special[2:], model_max_length=context,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    random_llama(vocab_size, context, hidden_size=16, seed=seed).half().save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def initialised_decoder(settings: Settings, layers: range, seed: int = 1) -> Decoder:
    """Layers of the decoder with the initial values of a training run."""
    import torch

    from gptoss.models.decoder import Decoder, initial_value

    module = Decoder(settings.model, VOCABULARY, layers)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(initial_value(name, parameter.shape, settings.model, seed))
    return module
