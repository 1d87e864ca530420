"""Which parameters decay, and the share of a rank in the gradient norm."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from gptoss.config.settings import Settings
from gptoss.models.decoder import Decoder
from gptoss.train.optimizer import has_weight_decay, local_squared_norm


def test_a_norm_is_not_finite_when_one_element_is_not() -> None:
    tensors = [torch.ones(4), torch.full((2,), 2.0)]
    assert math.isclose(local_squared_norm(tensors).item(), 12, rel_tol=1e-6)
    for bad in (math.inf, -math.inf, math.nan):
        tensors[0][1] = bad
        assert not math.isfinite(local_squared_norm(tensors).item())


def test_norms_and_the_input_embedding_do_not_decay(tiny: Callable[..., Settings]) -> None:
    with torch.device("meta"):
        module = Decoder(tiny().model, 320, range(3))
    fixed = {
        name.removesuffix(".weight") for name, value in module.named_parameters() if not has_weight_decay(name, value)
    }
    assert fixed == {"model.embed_tokens", "model.norm"} | {
        f"model.layers.{n}.{norm}" for n in range(3) for norm in ("input_layernorm", "post_attention_layernorm")
    }
