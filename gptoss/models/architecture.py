"""The architectures that can be trained, one module per architecture, published as stock classes of transformers.

An architecture's module defines:

- `STOCK_CLASS`: the class of transformers that loads what was trained, and `DESCRIPTION`, what the model card says;
- `NAMES`: what the stock class calls the modules around the layers, and `ROTARY_FRACTION`;
- `Layer(config)`: a module from (activations, `Positions`) to activations, whose parameters have the stock names;
- `norm(config)`: the last normalisation; `stock_config(config)`: the entries of `config.json` that are its own.

To add one: write the module, add its line to `ARCHITECTURES` in `gptoss/config/extensions.py` and its name to the
equality test in `tests/models/test_decoder.py`. Dimensions it does not support are refused in
`gptoss.config.model.ModelConfig`.
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
