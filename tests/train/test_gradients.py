"""Gradients of the sharded trainer against plain autograd on the whole model in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from gptoss.config.settings import Settings
from gptoss.core.errors import UserError
from gptoss.models.decoder import Decoder
from gptoss.models.llama import RMSNormFunction
from gptoss.models.rotary import apply_rotary
from gptoss.train.parallel_context import init_parallel_context
from gptoss.train.run_config import RunConfig, divide_batch
from gptoss.train.step import Trainer
from tests.train.conftest import VOCABULARY, cluster, free_port

OPTIONS = {
    "llama": {},
    "tied": {"model.tie_embeddings": True},
    "gpt_neox": {"model.architecture": "gpt_neox", "model.kv_heads": 4},
    "gpt_neox-tied": {"model.architecture": "gpt_neox", "model.kv_heads": 4, "model.tie_embeddings": True},
}
ONE_LAYER = {"model.layers": 1}
"""Every layer is compiled anew."""
compiler = pytest.mark.skipif(not shutil.which("g++"), reason="there is no C++ compiler, which compiled layers need")


@pytest.mark.parametrize(
    ("name", "compiled"),
    [*((name, False) for name in OPTIONS), pytest.param("llama", True, marks=[pytest.mark.slow, compiler])],
)
def test_a_step_has_the_gradients_of_autograd(
    name: str, compiled: bool, make_run_config: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of an embedding that is the head at the same time, and of compiled layers."""
    for key, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}.items():
        monkeypatch.setenv(key, str(value))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    made = make_run_config(cluster(compile=compiled), "float64", **OPTIONS[name] | (ONE_LAYER if compiled else {}))
    with init_parallel_context(made.cluster) as parallel:
        trainer = Trainer(made, parallel)
        held = {key: parameter.detach().clone() for key, parameter in trainer.parameters}
        loss = trainer.forward_backward(1, 1.0)
        found = {key: parameter.grad for key, parameter in trainer.parameters}
        inputs, targets = trainer.batch(1)
        trainer.batches.close()
    shape = made.settings.model
    plain = Decoder(shape, VOCABULARY, range(shape.layers)).double()
    assert dict(plain.named_parameters()).keys() == held.keys()
    plain.load_state_dict(held, strict=not shape.tie_embeddings)
    expected = F.cross_entropy(plain(inputs).flatten(0, 1), targets.flatten(), reduction="sum")
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for key, parameter in plain.named_parameters():
        torch.testing.assert_close(found[key], parameter.grad, rtol=1e-9, atol=1e-9, msg=key)


def test_what_cannot_be_divided_is_refused(tiny: Callable[..., Settings]) -> None:
    with pytest.raises(UserError, match=r"mesh.pp is 2: the first and the last pipeline stage would each hold a copy"):
        divide_batch(tiny(**OPTIONS["tied"]), cluster(pp=2))
    with pytest.raises(UserError, match=r"mesh.tp is 2: tensor parallelism cannot divide the biases of gpt_neox"):
        divide_batch(tiny(**OPTIONS["gpt_neox"]), cluster(tp=2))
    with pytest.raises(UserError, match=r"kv_heads\(2\) != heads\(4\): gpt_neox has no grouped-query attention"):
        tiny(**{"model.architecture": "gpt_neox"})
    with pytest.raises(UserError, match=r"type llama3 takes factor, high_freq_factor, low_freq_factor, original_max_"):
        tiny(**{"model.rope_scaling": {"type": "llama3", "factor": 2.0}})
    with pytest.raises(UserError, match=r"model\.architecture is 'gpt2': choose one of llama, gpt_neox"):
        tiny(**{"model.architecture": "gpt2"})


def test_normalisation_and_rotation_have_the_gradients_of_autograd() -> None:
    x, weight = torch.randn(2, 5, 8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    torch.autograd.gradcheck(lambda x, w: RMSNormFunction.apply(x, w, 1e-5), (x.requires_grad_(), weight.requires_grad_()))
    angles = torch.randn(5, 3, dtype=torch.float64).repeat(1, 2)
    heads = torch.randn(2, 3, 5, 8, dtype=torch.float64, requires_grad=True)  # of which six elements are rotated
    torch.autograd.gradcheck(lambda x: apply_rotary(x, angles.cos(), angles.sin()), heads)
