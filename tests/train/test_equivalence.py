"""The same training in every layout: real processes over gloo, from the same seed, on the same global batches.

Float64 shows that a layout computes the same function: rounding alone would not stay below 1e-9. Float32 and float16
show that rounding stays harmless at a stable learning rate. `pytest -s` prints the measured maxima.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from gptoss.config.cluster import ClusterConfig
from gptoss.config.tokenizer import FIM_TOKENS
from gptoss.train.run_config import RunConfig
from tests.training_runs import Outcome, cluster, take_steps

INTERLEAVED = {"schedule": "interleaved_1f1b", "stages_per_rank": 2}

ZERO_BUBBLE = {"schedule": "zero_bubble", "stages_per_rank": 1}

LAYOUTS: dict[int, dict[str, ClusterConfig]] = {
    2: {
        "dp2": cluster(shard=2),
        "pp2": cluster(pp=2),
        "tp2": cluster(tp=2),
        "hybrid-sharding-2": cluster(replicate=2),
        "interleaved": cluster(pp=2, pipeline=INTERLEAVED),
        "zero-bubble": cluster(pp=2, pipeline=ZERO_BUBBLE),
        "full-recomputation": cluster(pp=2, activation_checkpointing="full"),
        "selective-recomputation": cluster(tp=2, activation_checkpointing="selective"),
    },
    4: {
        "pp2-dp2": cluster(pp=2, shard=2),
        "pp2-tp2": cluster(pp=2, tp=2, pipeline={**ZERO_BUBBLE, "stages_per_rank": 2}),
        "dp2-tp2": cluster(shard=2, tp=2),
        "hybrid-sharding-2x2": cluster(replicate=2, shard=2),
        "pp4": cluster(pp=4),
    },
}

STABLE = {"model.layers": 4, "pretrain.steps": 40, "pretrain.learning_rate": 0.002}

CASES = {"float64": (40, 1e-9), "float32": (20, 1e-5), "float16": (20, 2e-3)}
"""Steps, and how far the loss of any of them may be from that of one process."""


@pytest.mark.slow
def test_all_layouts_train_alike(make_run_config: Callable[..., RunConfig]) -> None:
    """Loss, gradient norm, skipped steps and validation of every layout; in float64 also weights and moments."""

    def taken(layouts: dict[str, ClusterConfig]) -> dict[str, Outcome]:
        runs = {
            f"{precision}.{name}": (make_run_config(on, precision, **STABLE), steps)
            for precision, (steps, _) in CASES.items()
            for name, on in layouts.items()
            if precision == "float64" or "recomputation" not in name
        }
        return take_steps(runs)

    references = taken({"one": cluster()})
    largest = dict.fromkeys(CASES, 0.0)
    for layouts in LAYOUTS.values():
        for name, found in taken(layouts).items():
            precision = name.partition(".")[0]
            expected, (_, tolerance) = references[f"{precision}.one"], CASES[precision]
            difference = np.abs(found.steps[:, 1] - expected.steps[:, 1]).max()
            print(f"{name}: {difference:.1e}")
            assert difference <= tolerance, name
            largest[precision] = max(largest[precision], difference)
            assert found.scaler == expected.scaler, name
            assert math.isclose(found.validation, expected.validation, abs_tol=tolerance), name
            if precision == "float64":
                same_state(found, expected, name)
    print({precision: f"{difference:.1e}" for precision, difference in largest.items()})
    losses = references["float64.one"].steps[:, 1]
    assert losses[0] - losses[-1] > 0.5, "nothing is learnt, so agreement means nothing"


def same_state(found: Outcome, expected: Outcome, name: str) -> None:
    np.testing.assert_allclose(found.steps[:, 2], expected.steps[:, 2], rtol=0, atol=1e-9, err_msg=f"{name}: norm")
    assert found.tensors.keys() == expected.tensors.keys()
    for key, value in expected.tensors.items():
        np.testing.assert_allclose(found.tensors[key], value, rtol=0, atol=1e-9, err_msg=f"{name}: {key}")


@pytest.mark.slow
def test_the_options_mean_the_same_in_a_pipeline(make_run_config: Callable[..., RunConfig]) -> None:
    """Another architecture with document masks, fill-in-the-middle, z-loss and soft cap: one process and two stages."""
    options = {
        "model.architecture": "gpt_neox", "model.kv_heads": 4, "pretrain.objective": "fill_in_the_middle",
        "tokenizer.extra_tokens": FIM_TOKENS, "pretrain.document_mask": True, "pretrain.z_loss": 0.01,
        "pretrain.logit_soft_cap": 5.0,
    }  # fmt: skip
    one = take_steps({"one": (make_run_config(cluster(), "float64", **options), 6)})["one"]
    two = take_steps({"two": (make_run_config(cluster(pp=2), "float64", **options), 6)})["two"]
    np.testing.assert_allclose(two.steps, one.steps, rtol=0, atol=1e-9)
    np.testing.assert_allclose(two.validation, one.validation, rtol=0, atol=1e-9)
    for key, value in one.tensors.items():
        np.testing.assert_allclose(two.tensors[key], value, rtol=0, atol=1e-9, err_msg=key)
