"""The decoder that is trained: one pipeline stage at a time of any architecture in `architectures/`.

Parameter names are those of the stock Hugging Face class and layers are keyed by their global number, so a
checkpoint or an export of any pipeline stage needs no conversion table. Logits equal the stock class's to the last
bit (tests/train/test_model.py). Shape suffixes are explained in `layers.py`.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import torch
from torch import Tensor, nn

from gptoss.config.model import ModelConfig
from gptoss.models.architecture import architecture
from gptoss.models.attention import document_mask
from gptoss.models.layers import Embedding, Linear, Positions
from gptoss.models.rotary import rope_parameters, rotary_table


class Decoder(nn.Module):  # type: ignore[misc]
    """The layers `layers` of the decoder; the first stage also embeds, the last one also predicts.

    Takes tokens `(B, T)` int64 in the first stage, activations `(B, T, D)` in the others; gives logits `(B, T, V)` in
    the last stage, activations in the others. With tensor parallelism, activations and logits are those of this
    rank's positions: `T / sequence_shards` of them. With `positions` `(B, T)` int64, which start at 0 in each
    document, no document sees another.
    """

    def __init__(self, shape: ModelConfig, vocab_size: int, layers: range) -> None:
        super().__init__()
        self.shape = shape
        self.sequence_shards = 1
        self.first, self.last = layers.start == 0, layers.stop == shape.layers
        family = architecture(shape.architecture)
        self.names = family.NAMES
        trunk = nn.Module()
        self.add_module(self.names.trunk, trunk)
        if self.first:
            trunk.add_module(self.names.embedding, Embedding(vocab_size, shape.hidden_size))
        trunk.layers = nn.ModuleDict({str(number): family.Layer(shape) for number in layers})
        if self.last:
            trunk.add_module(self.names.norm, family.norm(shape))
            self.lm_head = Linear(shape.hidden_size, vocab_size)
        self.tie()

    @property
    def trunk(self) -> nn.Module:
        """Everything but the head."""
        return self.get_submodule(self.names.trunk)

    @property
    def layers(self) -> list[nn.Module]:
        """The layers of this stage, in order."""
        return list(self.trunk.layers.values())

    def tie(self) -> None:
        """Make head and embedding one parameter where the settings say so: anew whenever parameters were replaced."""
        if self.shape.tie_embeddings and self.first and self.last:
            self.lm_head.weight = self.trunk.get_submodule(self.names.embedding).weight

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        if self.first:
            x = self.trunk.get_submodule(self.names.embedding)(x)
        at = where(self.shape, x, x.shape[1] * self.sequence_shards, positions)
        for layer in self.layers:
            x = layer(x, at)
        return self.lm_head(self.trunk.get_submodule(self.names.norm)(x)) if self.last else x


def where(shape: ModelConfig, like: Tensor, length: int, positions_BT: Tensor | None) -> Positions:
    """Rotations and mask of sequences of `length`, of the device and type of `like`."""
    cos_TE, sin_TE = rotary_table(shape, length, like.device, like.dtype)
    if positions_BT is None:
        return Positions(cos_TE, sin_TE, None)
    mask = document_mask(positions_BT, blocks=like.device.type == "cuda")
    return Positions(cos_TE[positions_BT][:, None], sin_TE[positions_BT][:, None], mask)


def initial_value(name: str, size: torch.Size, shape: ModelConfig, seed: int) -> Tensor:
    """The first value of a parameter, float32 on the CPU: a pure function of the seed and its name.

    Norms start at one and biases at zero; matrices at N(0, 2 / (5 D)) (Nguyen and Salazar 2019), those that write to
    the residual stream divided by sqrt(2 layers) (Radford et al. 2019, section 2.3).
    """
    if len(size) == 1:
        return torch.zeros(size) if name.endswith("bias") else torch.ones(size)
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    std = math.sqrt(2 / (5 * shape.hidden_size))
    if name.endswith(architecture(shape.architecture).NAMES.residual):
        std /= math.sqrt(2 * shape.layers)
    return torch.randn(size, generator=generator).mul_(std)


def parameter_count(shape: ModelConfig, vocab_size: int) -> int:
    """Parameters of the whole model, a tied one counted once."""
    with torch.device("meta"):
        whole = Decoder(shape, vocab_size, range(shape.layers))
    return sum(parameter.numel() for parameter in whole.parameters())


def matrix_elements(shape: ModelConfig) -> int:
    """Multiply-adds a token in the matrices of one layer."""
    with torch.device("meta"):
        layer = architecture(shape.architecture).Layer(shape)
    return sum(parameter.numel() for parameter in layer.parameters() if parameter.dim() > 1)


def hugging_face_config(shape: ModelConfig, vocab_size: int, *, bos: int = 0, eos: int = 0) -> dict[str, Any]:
    """`config.json` of the stock class for these weights."""
    config = {
        "architectures": [architecture(shape.architecture).STOCK_CLASS],
        "attention_dropout": 0.0,
        "bos_token_id": bos,
        "dtype": "float32",
        "eos_token_id": eos,
        "hidden_size": shape.hidden_size,
        "initializer_range": round(math.sqrt(2 / (5 * shape.hidden_size)), 6),
        "intermediate_size": shape.ffn_size,
        "max_position_embeddings": shape.context,
        "model_type": shape.architecture,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "pad_token_id": 1,
        "rope_parameters": rope_parameters(shape),
        "tie_word_embeddings": shape.tie_embeddings,
        "use_cache": True,
        "vocab_size": vocab_size,
    }
    return dict(sorted((config | architecture(shape.architecture).stock_config(shape)).items()))
