"""The simulated memory of a rank is the memory of a real one, and the command that shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gptoss.core.errors import UserError
from gptoss.cli.simulate import tabulate
from gptoss.simulate.live_storage import LiveStorage
from gptoss.simulate.simulated_rank import simulate_peak_memory
from gptoss.train.run_config import RunConfig
from tests.train.conftest import ROOT, cluster, free_port, run_ranks

SIZES = {
    "model.hidden_size": 64, "model.layers": 6, "model.ffn_size": 192, "model.context": 64,
    "instruct.max_length": 64, "pretrain.batch_tokens": 16 * 64,
}  # fmt: skip
LAYOUTS = {
    "sharded": cluster(pp=2, shard=2, micro_batch=2, activation_checkpointing="full"),
    "tensor-parallel": cluster(
        pp=2, tp=2, micro_batch=4, pipeline={"schedule": "interleaved_1f1b", "stages_per_rank": 2}
    ),
    "hybrid": cluster(replicate=2, shard=2, micro_batch=1, activation_checkpointing="selective"),
}


def test_storages_are_counted_once_and_until_they_go() -> None:
    with LiveStorage() as storage:
        first = torch.empty(1000)
        view = first.view(10, 100)
        assert storage.live == 4000
        second = view + 1
        del second
        assert (storage.live, storage.peak) == (4000, 8000)
        first.untyped_storage().resize_(0)
        assert storage.live == 0
        torch.empty(1000, device="meta")
        assert (storage.live, storage.peak) == (0, 8000)
    after = torch.empty(1000)
    assert storage.live == 0 and after.numel() == 1000


@pytest.mark.slow
def test_a_simulated_rank_needs_what_a_real_one_needs(make_run_config: Callable[..., RunConfig]) -> None:
    """Every place in the pipeline of three layouts, against four processes over gloo: total and each part."""
    plans = {name: make_run_config(on, "float16", **SIZES) for name, on in LAYOUTS.items()}
    for name, one in plans.items():
        one.write(Path(name))
    run_ranks(4, "memory", *(f"{free_port()}:{name}" for name in plans))
    for name, one in plans.items():
        mesh = one.cluster.mesh
        for pp_rank in range(mesh.pp):
            simulated = simulate_peak_memory(one, pp_rank)
            real = json.loads(Path(f"{name}.{pp_rank * mesh.size // mesh.pp}").read_text())
            print(f"{name}, place {pp_rank}: simulated {simulated.total}, real {real['total']}")
            assert real["total"] > 1e6
            for part in ("total", "parameters", "gradients", "optimizer", "activations"):
                assert getattr(simulated, part) == pytest.approx(real[part], rel=0.1), f"{name} {pp_rank} {part}"


def test_recomputing_more_keeps_less(make_run_config: Callable[..., RunConfig]) -> None:
    modes = ("none", "selective", "full")
    plans = [make_run_config(cluster(pp=2, activation_checkpointing=mode), "float16", **SIZES) for mode in modes]
    none, selective, full = (simulate_peak_memory(one, 0).activations for one in plans)
    assert 0.8 * none > selective > 1.2 * full


@pytest.mark.parametrize(
    "pipeline", [None, {"schedule": "interleaved_1f1b", "stages_per_rank": 2}, {"schedule": "zero_bubble"}]
)
def test_micro_batches_that_are_left_out_are_accounted_for(
    make_run_config: Callable[..., RunConfig], pipeline: dict[str, object] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = cluster(pp=2, micro_batch=1, **({"pipeline": pipeline} if pipeline else {}))
    whole = make_run_config(on, "float32", **{"model.layers": 4, "pretrain.batch_tokens": 16 * 16})
    short = simulate_peak_memory(whole, 1)
    monkeypatch.setattr("gptoss.simulate.simulated_rank.shortened", lambda run_config: (run_config, 0))
    assert short.total == pytest.approx(simulate_peak_memory(whole, 1).total, rel=0.01)  # the rest: tokens, losses


def test_a_batch_that_does_not_divide_is_explained(workspace: Path) -> None:
    (workspace / "profiles").symlink_to(ROOT / "profiles")
    with pytest.raises(UserError, match=r"16 sequences; 16 / .*= 0.5 a rank"):
        tabulate(["tiny"], ["a100-80gb-128"], everywhere=False, markdown=None)
    with pytest.raises(UserError, match="2 profiles and 1 clusters"):
        tabulate(["20b", "30b"], ["a100-80gb-64"], everywhere=False, markdown=None)
