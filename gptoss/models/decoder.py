"""The decoder that is trained, of any architecture in `gptoss.config.extensions.ARCHITECTURES`, one pipeline stage at
a time.

Parameter names are those of the stock Hugging Face class, and layers are keyed by their global number. So a checkpoint
or an export of any pipeline stage needs no conversion table. Without gradients, logits are bitwise equal to the stock
class's (`tests/models/test_decoder.py`). Shape suffixes are explained in `layers.py`.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import torch
from torch import Tensor, nn

from gptoss.config.model import ModelConfig
from gptoss.config.tokenizer import END_OF_TEXT, PADDING, SPECIAL_TOKENS
from gptoss.models.architecture import architecture
from gptoss.models.attention import document_mask
from gptoss.models.layers import Embedding, Linear, Positions
from gptoss.models.rotary import rope_parameters, rotary_table


class Decoder(nn.Module):  # type: ignore[misc]
    """The layers `layers` of the decoder; the first pipeline stage also embeds, the last one also has the output head.

    Input: tokens `(B, T)` int64 in the first stage, activations `(B, T, D)` in the others. Output: logits `(B, T, V)`
    in the last stage, activations in the others. With tensor parallelism, activations and logits are those of this
    rank's `T / sequence_shards` positions. `position_ids` `(B, T)` int64 start at 0 in each document; with them, no
    document attends to another.
    """

    def __init__(self, config: ModelConfig, vocab_size: int, layers: range) -> None:
        super().__init__()
        self.config = config
        self.sequence_shards = 1
        self.is_first, self.is_last = layers.start == 0, layers.stop == config.layers
        family = architecture(config.architecture)
        self.names = family.NAMES
        trunk = nn.Module()
        self.add_module(self.names.trunk, trunk)
        if self.is_first:
            trunk.add_module(self.names.embedding, Embedding(vocab_size, config.hidden_size))
        # A dictionary, not a ModuleList, which would renumber the layers of later pipeline stages from 0.
        trunk.layers = nn.ModuleDict({str(number): family.Layer(config) for number in layers})
        if self.is_last:
            trunk.add_module(self.names.norm, family.norm(config))
            # Never inside the trunk: `lm_head` is the stock name in every architecture.
            self.lm_head = Linear(config.hidden_size, vocab_size)
        self.tie_weights()

    @property
    def trunk(self) -> nn.Module:
        """Everything but the output head."""
        return self.get_submodule(self.names.trunk)

    @property
    def layers(self) -> list[nn.Module]:
        """The layers of this pipeline stage, in order."""
        return list(self.trunk.layers.values())

    def tie_weights(self) -> None:
        """Make output head and embedding one parameter, if so configured. Call again after parameters were replaced."""
        if self.config.tie_embeddings and self.is_first and self.is_last:
            self.lm_head.weight = self.trunk.get_submodule(self.names.embedding).weight

    def forward(self, x: Tensor, position_ids: Tensor | None = None) -> Tensor:
        if self.is_first:
            x = self.trunk.get_submodule(self.names.embedding)(x)
        # With sequence parallelism x holds a share of the positions, but attention gathers all of them.
        positions = make_positions(self.config, x, x.shape[1] * self.sequence_shards, position_ids)
        for layer in self.layers:
            x = layer(x, positions)
        return self.lm_head(self.trunk.get_submodule(self.names.norm)(x)) if self.is_last else x


def make_positions(config: ModelConfig, like: Tensor, length: int, position_ids_BT: Tensor | None) -> Positions:
    """Rotary tables and mask for sequences of `length`, on the device and in the dtype of `like`."""
    cos_TE, sin_TE = rotary_table(config, length, like.device, like.dtype)
    if position_ids_BT is None:
        return Positions(cos_TE, sin_TE, None)
    mask = document_mask(position_ids_BT, blocks=like.device.type == "cuda")
    # One axis more, for the heads.
    return Positions(cos_TE[position_ids_BT][:, None], sin_TE[position_ids_BT][:, None], mask)


def initial_value(name: str, size: torch.Size, config: ModelConfig, seed: int) -> Tensor:
    """Initial value of a parameter, float32 on the CPU: a pure function of seed and name, so that every mesh starts
    from the same model.

    Norms are one and biases zero. Matrices are N(0, 2 / (5 D)) (Nguyen and Salazar 2019); those that write to the
    residual stream are divided by sqrt(2 layers) (Radford et al. 2019, section 2.3).
    """
    if len(size) == 1:
        return torch.zeros(size) if name.endswith("bias") else torch.ones(size)
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    # One bit fewer, so that the seed fits a signed 64-bit integer.
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    # The usual constant 0.02 at D = 1000, smaller in wider models.
    std = math.sqrt(2 / (5 * config.hidden_size))
    if name.endswith(architecture(config.architecture).NAMES.residual):
        std /= math.sqrt(2 * config.layers)
    return torch.randn(size, generator=generator).mul_(std)


def parameter_count(config: ModelConfig, vocab_size: int) -> int:
    """Parameters of the whole model; a tied one counts once."""
    # Counted on a meta model rather than by formula: a new architecture needs no second implementation.
    with torch.device("meta"):
        model = Decoder(config, vocab_size, range(config.layers))
    return sum(parameter.numel() for parameter in model.parameters())


def matrix_elements(config: ModelConfig) -> int:
    """Elements of the matrices of one layer, which are its multiply-adds per token."""
    with torch.device("meta"):
        layer = architecture(config.architecture).Layer(config)
    return sum(parameter.numel() for parameter in layer.parameters() if parameter.dim() > 1)


def hugging_face_config(config: ModelConfig, vocab_size: int) -> dict[str, Any]:
    """`config.json` of the stock class for these weights."""
    family = architecture(config.architecture)
    # One token separates documents: a text begins after it and ends with it.
    end_of_text = SPECIAL_TOKENS.index(END_OF_TEXT)
    entries = {
        "architectures": [family.STOCK_CLASS],
        "attention_dropout": 0.0,
        "bos_token_id": end_of_text,
        "dtype": "float32",
        "eos_token_id": end_of_text,
        "hidden_size": config.hidden_size,
        "initializer_range": round(math.sqrt(2 / (5 * config.hidden_size)), 6),
        "intermediate_size": config.ffn_size,
        "max_position_embeddings": config.context,
        "model_type": config.architecture,
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "pad_token_id": SPECIAL_TOKENS.index(PADDING),
        "rope_parameters": rope_parameters(config),
        "tie_word_embeddings": config.tie_embeddings,
        "use_cache": True,
        "vocab_size": vocab_size,
    }
    # Sorted, as transformers writes it.
    return dict(sorted((entries | family.stock_config(config)).items()))
