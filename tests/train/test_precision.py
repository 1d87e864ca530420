"""Half precision on a CPU, the chunked loss, the loss scale, the optimizer's rules."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from gptoss.config.settings import Settings
from gptoss.models.decoder import Decoder
from gptoss.models.precision import embedding, linear
from gptoss.train.batches import IGNORE_INDEX
from gptoss.train.loss import CHUNK_ELEMENTS, ChunkedCrossEntropy, ScaledLoss
from gptoss.train.loss_scaling import MeshGradScaler
from gptoss.train.optimizer import has_weight_decay, local_squared_norm


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


def test_the_scale_moves_as_torch_moves_it() -> None:
    ours = MeshGradScaler(2.0**10, growth_interval=3)
    theirs = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter])
    for norm in (1, 1, math.inf, 1, 1, 1, 1, math.nan, math.inf, 1, 1, 1, 1):
        theirs.scale(torch.ones(1))
        parameter.grad = torch.tensor([float(norm)])
        theirs.step(optimizer)
        theirs.update()
        assert ours.update(norm) == math.isfinite(norm)
        assert ours.scale == theirs.get_scale()
    assert ours.skipped == 3 and ours.skipped_in_a_row == 0
    other = MeshGradScaler(1.0, growth_interval=3)
    other.restore(ours.state())
    assert other.state() == ours.state()


def test_without_scaling_a_bad_step_is_still_skipped() -> None:
    scaler = MeshGradScaler(None, growth_interval=1)
    assert scaler.update(1.0) and not scaler.update(math.nan)
    assert scaler.scale == 1 and scaler.skipped == 1


def test_a_norm_is_not_finite_when_one_element_is_not() -> None:
    tensors = [torch.ones(4), torch.full((2,), 2.0)]
    assert math.isclose(local_squared_norm(tensors).item(), 12, rel_tol=1e-6)
    for bad in (math.inf, -math.inf, math.nan):
        tensors[0][1] = bad
        assert not math.isfinite(local_squared_norm(tensors).item())


def test_norms_and_the_input_embedding_do_not_decay(tiny: Callable[..., Settings]) -> None:
    with torch.device("meta"):
        module = Decoder(tiny().model, 320, range(3))
    fixed = {name.removesuffix(".weight") for name, value in module.named_parameters() if not has_weight_decay(name, value)}
    assert fixed == {"model.embed_tokens", "model.norm"} | {
        f"model.layers.{n}.{norm}" for n in range(3) for norm in ("input_layernorm", "post_attention_layernorm")
    }
