"""Half precision on a CPU: rounding, overflow, accumulation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gptoss.models.precision import embedding, linear


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_products_are_float32_products_rounded_to_half(dtype: torch.dtype) -> None:
    x = torch.randn(2, 5, 8).to(dtype).requires_grad_()
    weights = [torch.randn(size, 8).to(dtype).requires_grad_() for size in (3, 4)]
    grads = [torch.randn(2, 5, size).to(dtype) for size in (3, 4)]
    outputs = linear(x, *weights)
    torch.autograd.backward(outputs, grads)

    wide_x = x.detach().float().requires_grad_()
    wide = [weight.detach().float().requires_grad_() for weight in weights]
    expected = [F.linear(wide_x, weight) for weight in wide]
    torch.autograd.backward(expected, [grad.float() for grad in grads])
    for output, exact in zip(outputs, expected, strict=True):
        assert output.dtype == dtype and torch.equal(output, exact.to(dtype))
    torch.testing.assert_close(x.grad, wide_x.grad.to(dtype))
    for weight, exact in zip(weights, wide, strict=True):
        torch.testing.assert_close(weight.grad, exact.grad.to(dtype))


def test_half_precision_overflows_for_real() -> None:
    x = torch.full((1, 1, 64), 100.0, dtype=torch.float16)
    (output,) = linear(x, torch.full((1, 64), 100.0, dtype=torch.float16))
    assert torch.isinf(output).all()


def test_an_embedding_gradient_adds_up_in_float32() -> None:
    table = torch.zeros(4, 1, dtype=torch.float16, requires_grad=True)
    embedding(torch.full((1, 4096), 2), table).backward(torch.full((1, 4096, 1), 1.0, dtype=torch.float16))
    assert table.grad.flatten().tolist() == [0, 0, 4096, 0]  # float16 alone would stop at 2048
