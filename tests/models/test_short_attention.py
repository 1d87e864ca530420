"""Attention of short contexts: output and gradients equal those of the definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gptoss.models.short_attention import BLOCK_ROWS, MAX_CONTEXT, ShortAttention, is_short


@pytest.mark.parametrize(("heads", "key_heads"), [(4, 4), (4, 2), (3, 1)])
@pytest.mark.parametrize("length", [BLOCK_ROWS, 5 * BLOCK_ROWS])
def test_output_and_gradients_are_those_of_attention(heads: int, key_heads: int, length: int) -> None:
    generator = torch.Generator().manual_seed(7)

    def heads_of(count: int) -> torch.Tensor:
        made = torch.randn(2, length, count, 16, dtype=torch.float64, generator=generator)
        return made.transpose(1, 2).requires_grad_()

    inputs, grad = [heads_of(count) for count in (heads, key_heads, key_heads)], heads_of(heads).detach()
    found = ShortAttention.apply(*inputs)
    expected = F.scaled_dot_product_attention(*inputs, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for mine, reference in zip(
        torch.autograd.grad(found, inputs, grad), torch.autograd.grad(expected, inputs, grad), strict=True
    ):
        torch.testing.assert_close(mine, reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("length", "dtype"), [(BLOCK_ROWS + 1, torch.float32), (2 * MAX_CONTEXT, torch.float32), (BLOCK_ROWS, torch.half)]
)
def test_long_or_half_precision_attention_is_left_to_pytorch(length: int, dtype: torch.dtype) -> None:
    assert is_short(torch.empty(1, 1, BLOCK_ROWS, 8))
    assert not is_short(torch.empty(1, 1, length, 8, dtype=dtype))
