"""Hand-written backward passes of the layers against finite differences."""

from __future__ import annotations

import torch

from gptoss.models.llama import RMSNormFunction
from gptoss.models.rotary import apply_rotary


def test_normalisation_and_rotation_have_the_gradients_of_autograd() -> None:
    x, weight = torch.randn(2, 5, 8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    torch.autograd.gradcheck(
        lambda x, w: RMSNormFunction.apply(x, w, 1e-5), (x.requires_grad_(), weight.requires_grad_())
    )
    angles = torch.randn(5, 3, dtype=torch.float64).repeat(1, 2)
    heads = torch.randn(2, 3, 5, 8, dtype=torch.float64, requires_grad=True)  # six elements of each head are rotated
    torch.autograd.gradcheck(lambda x: apply_rotary(x, angles.cos(), angles.sin()), heads)
