"""The same training on every mesh, and one verdict about a step on all of its ranks. Real processes over gloo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.cluster import Cluster
from stages.pretrain.plan import Plan
from tests.pretrain.conftest import cluster, run_ranks

Weights = dict[str, np.ndarray]


def outcome(results: Path, on: Cluster) -> tuple[list[Any], Weights]:
    """What every rank measured, and the weights and moments of all stages."""
    ranks = [json.loads((results / f"rank-{rank}.json").read_text()) for rank in range(on.mesh.size)]
    assert all(rank == ranks[0] for rank in ranks), "ranks disagree"
    weights: Weights = {}
    for stage in range(on.mesh.pp):
        weights |= dict(np.load(results / f"stage-{stage}.npz"))
    return ranks, weights


@pytest.mark.slow
def test_layouts_agree_in_float64(plan: Callable[..., Plan]) -> None:
    """Loss, gradient norm, weights and moments after six steps; float32 would drift apart by rounding alone."""
    meshes = [
        cluster(micro_batch=4),
        cluster(shard=2),
        cluster(pp=2),
        cluster(pp=2, shard=2, activation_checkpointing=True),
        cluster(replicate=2, micro_batch=1),
    ]
    ranks, reference = [], {}
    for on in meshes:
        ranks, weights = outcome(run_ranks(plan(on, "float64"), "steps", "6"), on)
        if not reference:
            first, reference = ranks[0], weights
            assert first["steps"][0][0] > first["steps"][-1][0], "nothing is learnt"
        assert weights.keys() == reference.keys()
        np.testing.assert_allclose(ranks[0]["validation"], first["validation"], rtol=0, atol=1e-9)
        np.testing.assert_allclose(
            np.array(ranks[0]["steps"], float), np.array(first["steps"], float), rtol=0, atol=1e-9
        )  # fmt: skip
        for name, value in reference.items():
            np.testing.assert_allclose(weights[name], value, rtol=0, atol=1e-9, err_msg=f"{on.mesh} {name}")


@pytest.mark.slow
def test_an_overflow_on_one_rank_is_skipped_by_all(plan: Callable[..., Plan]) -> None:
    """Rank 1 is in the first pipeline stage, rank 2 in the last. Nothing but the scale and the counters may move."""
    on = cluster(pp=2, shard=2)
    (ranks, _) = outcome(run_ranks(plan(on, "float16"), "steps", "5", "2", "1", "4", "2"), on)
    losses, norms, scales, moved = zip(*ranks[0]["steps"], strict=True)
    assert np.isfinite(losses).all()
    assert [bool(np.isfinite(norm)) for norm in norms] == [True, False, True, False, True]
    assert scales == (65536, 65536, 32768, 32768, 16384)
    assert moved == (True, False, True, False, True)
