"""The chunked loss against its definition."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from gptoss.train.batches import IGNORE_INDEX
from gptoss.train.loss import CHUNK_ELEMENTS, ChunkedCrossEntropy, ScaledLoss


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_the_chunked_loss_is_cross_entropy(dtype: torch.dtype) -> None:
    rows, vocabulary = 7, CHUNK_ELEMENTS["cpu"] // 3  # two whole chunks and a part
    logits = torch.randn(1, rows, vocabulary, dtype=torch.float64).to(dtype).requires_grad_()
    targets = torch.randint(0, vocabulary, (1, rows))
    targets[0, 3] = IGNORE_INDEX
    loss = ChunkedCrossEntropy.apply(logits.clone(), targets, 8.0, 0.0, None)
    loss.backward()
    exact = logits.detach().double().requires_grad_()
    expected = 8 * F.cross_entropy(exact[0], targets[0], reduction="sum", ignore_index=IGNORE_INDEX)
    expected.backward()
    assert math.isclose(loss.item(), expected.item(), rel_tol=1e-12 if dtype == torch.float64 else 1e-5)
    torch.testing.assert_close(logits.grad, exact.grad.to(dtype))
    assert (logits.grad[0, 3] == 0).all()


@pytest.mark.parametrize(("z_loss", "soft_cap"), [(0.1, None), (0.0, 1.5), (0.1, 1.5)])
def test_z_loss_and_soft_cap_have_the_gradient_of_autograd(z_loss: float, soft_cap: float | None) -> None:
    """What is returned is the cross-entropy; what is differentiated has the penalty too."""
    logits = (3 * torch.randn(2, 5, 11, dtype=torch.float64)).requires_grad_()
    targets = torch.randint(0, 11, (2, 5))
    targets[1, 2] = IGNORE_INDEX
    loss = ChunkedCrossEntropy.apply(logits.clone(), targets, 8.0, z_loss, soft_cap)
    loss.backward()
    exact = logits.detach().requires_grad_()
    bent = exact if soft_cap is None else soft_cap * torch.tanh(exact / soft_cap)
    expected = 8 * F.cross_entropy(bent.flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=IGNORE_INDEX)
    penalty = 8 * z_loss * bent.logsumexp(-1)[targets != IGNORE_INDEX].square().sum()
    (expected + penalty).backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logits.grad, exact.grad)


def test_validation_is_plain_cross_entropy() -> None:
    logits, targets = 10 * torch.randn(1, 5, 11), torch.randint(0, 11, (1, 5))
    with torch.no_grad():
        measured = ScaledLoss(z_loss=0.1, soft_cap=1.0)(logits, targets)
    assert math.isclose(measured, F.cross_entropy(logits[0], targets[0], reduction="sum"), rel_tol=1e-5)
