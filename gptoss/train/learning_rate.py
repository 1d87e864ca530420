"""Learning rate schedules, pure functions of the step.

`cosine`: linear warm-up, then a cosine to `final_learning_rate_fraction` of the peak (Loshchilov and Hutter 2017).
`wsd`: warm-up, stable, decay (Hu et al. 2024, MiniCPM, section 4.2). The stable part does not depend on the length of
the run, so a run can be extended, or branched into several decays, from a checkpoint before the decay.
"""

from __future__ import annotations

import math

from gptoss.config.pretrain import PretrainConfig


def learning_rate(step: int, config: PretrainConfig) -> float:
    """Learning rate of step 1, 2, … `steps`: the peak at the last warm-up step, the final fraction at the last step."""
    # Step 1 has a rate above 0: a first step that changes nothing would waste its batch.
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    floor = config.final_learning_rate_fraction
    return config.learning_rate * (floor + (1 - floor) * _decay_multiplier(step, config))


def _decay_multiplier(step: int, config: PretrainConfig) -> float:
    """Factor after the warm-up, falling from 1 (peak) to 0 (final rate)."""
    if config.schedule == "cosine":
        progress = (step - config.warmup_steps) / (config.steps - config.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * progress))
    progress = max(0.0, 1 - (config.steps - step) / config.decay_steps)
    # 1-sqrt ended at a lower loss than linear in Hägele et al. 2024 (section 3, decay over 20 % of the steps).
    return 1 - progress if config.decay == "linear" else 1 - math.sqrt(progress)
