"""The learning rate of each step, a pure function of it.

`cosine`: linear warm-up, then a cosine to `final_learning_rate_fraction` of the peak (Loshchilov and Hutter 2017).
`wsd`: warm-up, stable, decay (Hu et al. 2024, "MiniCPM", section 4.2). The stable part is the same whatever the length
of the run, so a run can be prolonged, or branched into several decays, from a checkpoint before the decay. Of the
shapes of the decay, `1-sqrt` ended lower than `linear` in Hägele et al. 2024 (section 4, decay over 20 % of the steps).
"""

from __future__ import annotations

import math

from gptoss.config.pretrain import PretrainConfig


def learning_rate(step: int, pretrain: PretrainConfig) -> float:
    """Rate of step 1, 2, … `steps`: the peak at the end of the warm-up, the final fraction of it at the last step."""
    if step <= pretrain.warmup_steps:
        return pretrain.learning_rate * step / pretrain.warmup_steps
    floor = pretrain.final_learning_rate_fraction
    return pretrain.learning_rate * (floor + (1 - floor) * _height(step, pretrain))


def _height(step: int, pretrain: PretrainConfig) -> float:
    """Where the rate stands between its peak (1) and its end (0), after the warm-up."""
    if pretrain.schedule == "cosine":
        done = (step - pretrain.warmup_steps) / (pretrain.steps - pretrain.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * done))
    done = max(0.0, 1 - (pretrain.steps - step) / pretrain.decay_steps)
    return 1 - done if pretrain.decay == "linear" else 1 - math.sqrt(done)
