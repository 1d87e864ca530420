"""Gradients of the sharded trainer against plain autograd on the whole model in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from gptoss.models.decoder import Decoder
from gptoss.train.parallel_context import init_parallel_context
from gptoss.train.run_config import RunConfig
from gptoss.train.step import Trainer
from tests.training_runs import VOCABULARY, cluster, free_port

OPTIONS = {
    "llama": {},
    "tied": {"model.tie_embeddings": True},
    "gpt_neox": {"model.architecture": "gpt_neox", "model.kv_heads": 4},
    "gpt_neox-tied": {"model.architecture": "gpt_neox", "model.kv_heads": 4, "model.tie_embeddings": True},
}

ONE_LAYER = {"model.layers": 1}
"""Every layer compiles separately, which takes minutes for more of them."""

compiler = pytest.mark.skipif(not shutil.which("g++"), reason="there is no C++ compiler, which compiled layers need")


@pytest.mark.parametrize(
    ("name", "compiled"),
    [*((name, False) for name in OPTIONS), pytest.param("llama", True, marks=[pytest.mark.slow, compiler])],
)
def test_a_step_has_the_gradients_of_autograd(
    name: str,
    compiled: bool,
    make_run_config: Callable[..., RunConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Including tied embeddings and compiled layers."""
    for key, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}.items():
        monkeypatch.setenv(key, str(value))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    run_config = make_run_config(
        cluster(compile=compiled), "float64", **OPTIONS[name] | (ONE_LAYER if compiled else {})
    )
    with init_parallel_context(run_config.cluster) as parallel:
        trainer = Trainer(run_config, parallel)
        weights = {key: parameter.detach().clone() for key, parameter in trainer.parameters}
        loss = trainer.forward_backward(1, 1.0)
        gradients = {key: parameter.grad for key, parameter in trainer.parameters}
        inputs, targets = trainer.batch(1)
        trainer.batches.close()
    config = run_config.settings.model
    plain = Decoder(config, VOCABULARY, range(config.layers)).double()
    assert dict(plain.named_parameters()).keys() == weights.keys()
    plain.load_state_dict(weights, strict=not config.tie_embeddings)
    expected = F.cross_entropy(plain(inputs).flatten(0, 1), targets.flatten(), reduction="sum")
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for key, parameter in plain.named_parameters():
        torch.testing.assert_close(gradients[key], parameter.grad, rtol=1e-9, atol=1e-9, msg=key)
