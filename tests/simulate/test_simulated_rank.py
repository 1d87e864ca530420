"""The simulated memory of a rank equals that of a real one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss.simulate.simulated_rank import simulate_peak_memory
from gptoss.train.run_config import RunConfig
from tests.training_runs import cluster, free_port, run_ranks

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


@pytest.mark.slow
def test_a_simulated_rank_needs_the_memory_of_a_real_one(make_run_config: Callable[..., RunConfig]) -> None:
    """Every pipeline position of three layouts, against four processes over gloo: total and each part."""
    run_configs = {name: make_run_config(on, "float16", **SIZES) for name, on in LAYOUTS.items()}
    for name, one in run_configs.items():
        one.write(Path(name))
    run_ranks(4, "tests.simulate.memory", *(f"{free_port()}:{name}" for name in run_configs))
    for name, one in run_configs.items():
        mesh = one.cluster.mesh
        for pp_rank in range(mesh.pp):
            simulated = simulate_peak_memory(one, pp_rank)
            real = json.loads(Path(f"{name}.{pp_rank * mesh.size // mesh.pp}").read_text())
            print(f"{name}, position {pp_rank}: simulated {simulated.total}, real {real['total']}")
            assert real["total"] > 1e6
            for part in ("total", "parameters", "gradients", "optimizer", "activations"):
                assert getattr(simulated, part) == pytest.approx(real[part], rel=0.1), f"{name} {pp_rank} {part}"


def test_more_recomputation_keeps_fewer_activations(make_run_config: Callable[..., RunConfig]) -> None:
    modes = ("none", "selective", "full")
    run_configs = [make_run_config(cluster(pp=2, activation_checkpointing=mode), "float16", **SIZES) for mode in modes]
    none, selective, full = (simulate_peak_memory(one, 0).activations for one in run_configs)
    assert 0.8 * none > selective > 1.2 * full


@pytest.mark.parametrize(
    "pipeline", [None, {"schedule": "interleaved_1f1b", "stages_per_rank": 2}, {"schedule": "zero_bubble"}]
)
def test_omitted_micro_batches_are_accounted_for(
    make_run_config: Callable[..., RunConfig], pipeline: dict[str, object] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = cluster(pp=2, micro_batch=1, **({"pipeline": pipeline} if pipeline else {}))
    whole = make_run_config(on, "float32", **{"model.layers": 4, "pretrain.batch_tokens": 16 * 16})
    short = simulate_peak_memory(whole, 1)
    monkeypatch.setattr("gptoss.simulate.simulated_rank.with_fewer_micro_batches", lambda run_config: (run_config, 0))
    assert short.total == pytest.approx(simulate_peak_memory(whole, 1).total, rel=0.01)  # the rest: tokens, losses
