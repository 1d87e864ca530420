"""Configuration of the stage `pretrain`."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from gptoss.config.extensions import OBJECTIVES, require_registered
from gptoss.config.section import Fraction, PositiveFloat, Section


def _some_weight(weights: dict[str, float]) -> dict[str, float]:
    if not any(weights.values()):
        raise ValueError("no source has a weight above 0: nothing would be read")
    return weights


Mixture = Annotated[
    dict[str, Annotated[float, Field(ge=0.0, allow_inf_nan=False)]],
    AfterValidator(_some_weight),
]
"""Weights of the sources of text; they need not add up to 1. A source that is not named is not read."""


class LossScaleConfig(Section):
    """Dynamic loss scaling (Micikevicius et al. 2018, section 3.2)."""

    initial: PositiveFloat
    growth_interval: PositiveInt
    max_consecutive_skips: PositiveInt


class PhaseConfig(Section):
    """A part of the run with a mixture of its own; it ends where the next one begins."""

    from_fraction: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Of `pretrain.steps`."""
    mixture: Mixture


class SpikesConfig(Section):
    """What to do about a step whose loss is far above those before it."""

    policy: Literal["none", "skip", "rollback"]
    """`skip`: no update from this step. `rollback`: go back to a checkpoint and leave out the batches since."""
    threshold: PositiveFloat
    """In standard deviations above the mean of the losses in the window."""
    window: Annotated[int, Field(ge=2)]
    """Losses of so many steps before are compared with; nothing is a spike until there are as many."""
    rollback_steps: PositiveInt
    """How far back at least the checkpoint is, and of how many steps, the spike last, the batches are left out."""
    max: PositiveInt
    """So many spikes are treated; the next one stops the run with advice."""


class PretrainConfig(Section):
    steps: PositiveInt
    batch_tokens: PositiveInt
    """Tokens in a global batch, whatever the mesh."""
    mixture: Mixture | None
    """Null: every source in proportion to its tokens."""
    phases: tuple[PhaseConfig, ...]
    """Mixtures that replace `mixture` later in the run, such as better text at the end of it."""
    optimizer: Literal["adamw", "muon"]
    """Muon: for the matrices of the layers, AdamW for everything else."""
    schedule: Literal["cosine", "wsd"]
    """After the warm-up: a cosine to the end, or stable and then a decay (WSD)."""
    decay_fraction: Annotated[float, Field(gt=0.0, le=1.0)]
    """Of `steps`: how long the decay of `wsd` takes."""
    decay: Literal["linear", "1-sqrt"]
    """Shape of the decay of `wsd`."""
    learning_rate: PositiveFloat
    final_learning_rate_fraction: Fraction
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0.0)
    beta1: Fraction
    beta2: Fraction
    gradient_clip: PositiveFloat
    precision: Literal["float16", "bfloat16", "float32"]
    objective: str
    """What is learnt: a function of `gptoss/train/objectives.py`."""
    fim_rate: Annotated[float, Field(ge=0.0, le=1.0)]
    """For `fill_in_the_middle`: the share of documents that are rearranged."""
    document_mask: bool
    """Attention does not cross documents, and positions start anew in each."""
    z_loss: float = Field(ge=0.0)
    """Coefficient of the squared log-normaliser (Chowdhery et al. 2022, PaLM, section 5); 0: off."""
    logit_soft_cap: PositiveFloat | None
    """Training logits are bent into (-cap, cap) by tanh (Gemma Team 2024, section 2); null: off. The published model,
    and validation, have no cap."""
    loss_scale: LossScaleConfig
    spikes: SpikesConfig
    validate_every: PositiveInt
    validation_tokens: PositiveInt
    """How much of the validation split each validation reads."""

    @property
    def mixtures(self) -> dict[str, Mixture]:
        """Every mixture that is given, by its key."""
        given = {} if self.mixture is None else {"mixture": self.mixture}
        return given | {f"phases.{number}.mixture": phase.mixture for number, phase in enumerate(self.phases)}

    @model_validator(mode="after")
    def _parts_of_the_run_fit(self) -> PretrainConfig:
        begins = [phase.from_fraction for phase in self.phases]
        if any(earlier >= later for earlier, later in itertools.pairwise(begins)):
            raise ValueError(f"phases begin at {begins}: each from_fraction must be above the one before it")
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps({self.warmup_steps}) must be below pretrain.steps({self.steps})")
        if self.schedule == "wsd" and self.warmup_steps + self.decay_steps > self.steps:
            raise ValueError(
                f"warmup_steps({self.warmup_steps}) + decay_fraction({self.decay_fraction:g}) * steps({self.steps}) "
                f"= {self.warmup_steps + self.decay_steps} > {self.steps}: lower decay_fraction or warmup_steps"
            )
        return self

    @property
    def decay_steps(self) -> int:
        """Steps of the decay of `wsd`."""
        return max(1, round(self.decay_fraction * self.steps))

    @model_validator(mode="after")
    def _objective_exists(self) -> PretrainConfig:
        require_registered("pretrain.objective", self.objective, OBJECTIVES)
        return self
