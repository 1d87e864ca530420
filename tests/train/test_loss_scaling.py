"""The loss scale follows torch.amp.GradScaler, and an overflow on one rank is skipped by every rank."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from gptoss.train.loss_scaling import MeshGradScaler
from gptoss.train.run_config import RunConfig
from tests.training_runs import cluster, take_steps


def test_the_scale_equals_that_of_grad_scaler() -> None:
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
    other.load_state_dict(ours.state_dict())
    assert other.state_dict() == ours.state_dict()


def test_without_scaling_a_bad_step_is_still_skipped() -> None:
    scaler = MeshGradScaler(None, growth_interval=1)
    assert scaler.update(1.0) and not scaler.update(math.nan)
    assert scaler.scale == 1 and scaler.skipped == 1


STEPS = 6


@pytest.mark.slow
@pytest.mark.parametrize("layout", [{"pp": 2, "shard": 2}, {"pp": 2, "tp": 2}, {"replicate": 2, "tp": 2}])
def test_an_overflow_on_one_rank_is_skipped_by_all(
    make_run_config: Callable[..., RunConfig], layout: dict[str, int]
) -> None:
    """Infinity or NaN in a gradient of each rank in turn, among them both pipeline stages and all ranks of the other
    axes: the scale halves once, and all weights and moments are those of a run without that step, bit for bit."""
    on = cluster(**layout, checkpoints={"every_steps": 100, "keep": 2})
    spoilt = [(1, 2, math.inf), (0, 4, math.nan)], [(3, 2, -math.inf), (2, 4, math.inf)]
    runs = {name: (make_run_config(on), STEPS) for name in ("first", "second", "without")}
    disturbances = {
        name: {"overflows": [(step, rank, value) for rank, step, value in ranks]}
        for name, ranks in zip(("first", "second"), spoilt, strict=True)
    }
    outcomes = take_steps(runs, **disturbances, without={"omitted": [2, 4]})
    without = outcomes["without"]
    for name in ("first", "second"):
        losses, norms, scales = outcomes[name].steps[:, 1:].T
        assert np.isfinite(losses).all()
        assert np.isfinite(norms).tolist() == [True, False, True, False, True, True]
        assert scales.tolist() == [65536, 65536, 32768, 32768, 16384, 16384]
        assert outcomes[name].scaler == without.scaler
        assert outcomes[name].tensors.keys() == without.tensors.keys()
        for key, value in without.tensors.items():
            assert np.array_equal(outcomes[name].tensors[key], value), f"{name}: {key}"
