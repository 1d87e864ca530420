"""Muon: singular values, agreement with torch's Muon, and equality on every mesh."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gptoss.config.cluster import ClusterConfig
from gptoss.config.settings import Settings
from gptoss.models.decoder import Decoder
from gptoss.train.muon import Muon, orthogonalize
from gptoss.train.optimizer import Optimizer
from gptoss.train.run_config import RunConfig
from tests.training_runs import Outcome, cluster, take_steps


@pytest.mark.parametrize("shape", [(48, 32), (32, 48), (40, 40)])
def test_singular_values_come_near_one_in_the_same_basis(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, *shape, dtype=torch.float64, generator=generator) * torch.tensor([1e-6, 1, 1e6])[
        :, None, None
    ]  # fmt: skip
    results = orthogonalize(matrices)
    for matrix, result in zip(matrices, results, strict=True):
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        kept = left.T @ result @ right.T
        assert torch.allclose(kept, torch.diag(kept.diagonal()), atol=1e-9), "singular vectors stay"
        large = kept.diagonal()[values > 0.05 * values[0]]
        assert large.min() > 0.6 and large.max() < 1.3
        assert torch.allclose(result, orthogonalize(matrix[None])[0], atol=1e-12), "matrices do not mix"
    assert not orthogonalize(torch.zeros(1, 4, 4)).any()


def test_it_steps_as_torch_does(settings: Settings) -> None:
    """torch computes in bfloat16, so the updates agree to its precision."""
    generator = torch.Generator().manual_seed(1)
    start = [torch.randn(shape, generator=generator) for shape in ((24, 56), (24, 56), (56, 24))]
    ours, theirs = ([torch.nn.Parameter(tensor.clone()) for tensor in start] for _ in range(2))
    mine = Muon(ours, lr=0.02, weight_decay=0.1)
    reference = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        mine.step()
        reference.step()
    for one, other, before in zip(ours, theirs, start, strict=True):
        moved, expected = one.detach() - before, other.detach() - before
        assert torch.linalg.norm(moved - expected) < 0.02 * torch.linalg.norm(expected)
        assert (mine.state[one]["momentum"] - reference.state[other]["momentum_buffer"]).abs().max() < 1e-6


def test_an_update_has_the_size_of_adamws() -> None:
    parameter = torch.nn.Parameter(torch.zeros(64, 192))
    parameter.grad = torch.randn(64, 192, generator=torch.Generator().manual_seed(2))
    Muon([parameter], lr=1.0, weight_decay=0.0).step()
    assert 0.15 < parameter.detach().square().mean().sqrt().item() < 0.25


def test_muon_takes_the_matrices_of_the_layers(tiny: Callable[..., Settings]) -> None:
    with torch.device("meta"):
        module = Decoder(tiny().model, 320, range(3))
    named = list(module.named_parameters())
    names = {name for name, _ in Optimizer(named, tiny(**{"pretrain.optimizer": "muon"}).pretrain).named_state()}
    by_muon = {name.removeprefix("momentum.") for name in names if name.startswith("momentum.")}
    assert by_muon == {name for name, _ in named if "proj" in name}
    rest = {name for name, _ in named} - by_muon
    assert names - {f"momentum.{name}" for name in by_muon} == {
        f"{m}.{n}" for n in rest for m in ("exp_avg", "exp_avg_sq")
    }


@pytest.mark.slow
def test_it_is_the_same_on_every_mesh(make_run_config: Callable[..., RunConfig]) -> None:
    """Weights and momenta after six steps in float64, with three layers and 46 rows that do not divide by four."""
    changes = {"pretrain.optimizer": "muon", "pretrain.schedule": "wsd", "model.ffn_size": 46}
    changes |= {"pretrain.mixture": {"gutenberg": 2, "wikipedia": 1}}

    def outcomes(**meshes: ClusterConfig) -> dict[str, Outcome]:
        return take_steps({name: (make_run_config(on, "float64", **changes), 6) for name, on in meshes.items()})

    reference = outcomes(one=cluster(micro_batch=4))["one"]
    assert reference.steps[0, 1] > reference.steps[-1, 1], "nothing is learnt"
    assert any(name.startswith("momentum.") for name in reference.tensors)
    others = outcomes(shard=cluster(shard=2), replicate=cluster(replicate=2, micro_batch=1))
    others |= outcomes(pp=cluster(pp=2, shard=2), tp=cluster(shard=2, tp=2), four=cluster(shard=4))
    for mesh, other in others.items():
        np.testing.assert_allclose(other.steps[:, 1:], reference.steps[:, 1:], rtol=0, atol=1e-9, err_msg=mesh)
        assert other.tensors.keys() == reference.tensors.keys()
        for name, value in reference.tensors.items():
            np.testing.assert_allclose(other.tensors[name], value, rtol=0, atol=1e-9, err_msg=f"{mesh} {name}")
