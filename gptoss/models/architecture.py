"""The architectures that can be trained: one module each, published as a stock class of transformers.

A module defines:

- `STOCK_CLASS`: the class of transformers that loads the trained weights; `DESCRIPTION`: a phrase for the model card;
- `NAMES`: the stock class's names of the modules around its layers; `ROTARY_FRACTION`: the rotated part of a head;
- `Layer(config)`: a module from (activations, `Positions`) to activations, with the stock class's parameter names;
- `norm(config)`: the final normalisation; `stock_config(config)`: entries of `config.json` that are its own.

To add one: write the module, add its line to `ARCHITECTURES` in `gptoss/config/extensions.py`, and reject dimensions it
does not support in `gptoss.config.model.ModelConfig`. The equality test in `tests/models/test_decoder.py` covers every
registered architecture.
"""

from __future__ import annotations

from typing import Any

from gptoss.config.extensions import ARCHITECTURES, load


def architecture(name: str) -> Any:
    """The module of an architecture."""
    return load(ARCHITECTURES, name)


def stock_classes() -> list[str]:
    """Names of the transformers classes that published folders may have."""
    return [str(architecture(name).STOCK_CLASS) for name in ARCHITECTURES]
