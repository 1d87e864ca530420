"""Recomputed activations give the same gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import torch

from gptoss.config.settings import Settings
from gptoss.models.decoder import Decoder
from gptoss.train.activation_checkpointing import apply_activation_checkpointing
from tests.toy_model import VOCABULARY, initialised_decoder


@pytest.mark.parametrize("mode", ["selective", "full"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_recomputed_activations_give_the_same_gradients(
    tiny: Callable[..., Settings], mode: Literal["selective", "full"], dtype: torch.dtype
) -> None:
    settings = tiny()
    plain = initialised_decoder(settings, range(3)).to(dtype)
    recomputing = Decoder(settings.model, VOCABULARY, range(3)).to(dtype)
    recomputing.load_state_dict(plain.state_dict())
    for layer in recomputing.layers:
        apply_activation_checkpointing(layer, mode)
    tokens = torch.randint(0, VOCABULARY, (2, settings.model.context))
    for module in (plain, recomputing):
        module(tokens).square().mean().backward()
    for one, other in zip(plain.parameters(), recomputing.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
