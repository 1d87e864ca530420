"""The architectures that can be trained, one module each, published as stock classes of transformers.

A module has the name it goes by in `model.architecture`, and holds five things: `NAMES`, what its stock class calls
the parts around the layers; `ROTARY_FRACTION`; `Layer`, a module from (activations,
`Positions`) to activations whose parameters have the stock names;
`norm(shape)`, the last normalisation; `stock_config(shape)`, what its `config.json` says beyond
`stages.pretrain.model.hugging_face_config`.
To add one: write the module, add its line to `ARCHITECTURES` and its name to the equality test in
tests/pretrain/test_model.py. Shapes that it cannot have are refused in `stages.settings.model.Model`.

This file imports nothing heavy: settings, publishing and the model card read the registry too.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple


class Stock(NamedTuple):
    """The class of transformers that loads what an architecture trained, and what the model card says of it."""

    name: str
    parts: str


ARCHITECTURES = {
    "llama": Stock("LlamaForCausalLM", "RMSNorm, SwiGLU, rotary positions, grouped-query attention"),
    "gpt_neox": Stock("GPTNeoXForCausalLM", "LayerNorm, GELU, rotary positions, parallel attention and feed-forward"),
}
"""By the name of the architecture, which is that of its module."""


def architecture(name: str) -> Any:
    """The module `name` of this package."""
    return importlib.import_module(f"{__name__}.{name}")
