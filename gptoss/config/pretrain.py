"""Section `pretrain` of `params.yaml`. Where and on how many devices it runs is in the cluster file instead."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from gptoss.config.extensions import OBJECTIVES, require_registered
from gptoss.config.section import Fraction, PositiveFloat, Section


def _require_positive_weight(weights: dict[str, float]) -> dict[str, float]:
    if not any(weights.values()):
        raise ValueError("no source has a weight above 0: nothing would be read")
    return weights


Mixture = Annotated[
    dict[str, Annotated[float, Field(ge=0.0, allow_inf_nan=False)]],
    AfterValidator(_require_positive_weight),
]
"""Weights of sources; they need not sum to 1. A source that is not named is not read."""


class LossScaleConfig(Section):
    """Dynamic loss scaling (Micikevicius et al. 2018, section 3.2)."""

    initial: PositiveFloat
    growth_interval: PositiveInt
    max_consecutive_skips: PositiveInt
    """Skipped steps in a row after which the run stops: the model itself diverges, no scale helps."""


class PhaseConfig(Section):
    """A part of the run with its own mixture; it ends where the next one begins."""

    # A fraction, so that a change of `steps` keeps the curriculum.
    from_fraction: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Start of the phase as a fraction of `pretrain.steps`."""
    mixture: Mixture


class SpikesConfig(Section):
    """Detection and handling of loss spikes, see `gptoss/train/loss_spikes.py`."""

    policy: Literal["none", "skip", "rollback"]
    """`skip`: make no update from this step. `rollback`: restore a checkpoint and skip the batches since."""
    threshold: PositiveFloat
    """Standard deviations above the mean of the losses in the window."""
    # A standard deviation needs two values.
    window: Annotated[int, Field(ge=2)]
    """Number of previous losses to compare with; there are no spikes before the window is full."""
    rollback_steps: PositiveInt
    """Minimum age of the restored checkpoint in steps; at most the batches of this many steps before the spike are
    skipped."""
    max: PositiveInt
    """Number of spikes that are handled; one more stops the run with advice."""


class PretrainConfig(Section):
    """Training of the base model."""

    steps: PositiveInt
    # In tokens rather than sequences, so that a change of `model.context` keeps the gradient noise.
    batch_tokens: PositiveInt
    """Tokens per global batch, on any mesh."""
    mixture: Mixture | None
    """null: every source in proportion to its tokens."""
    phases: tuple[PhaseConfig, ...]
    """Mixtures that replace `mixture` later in the run, for example better text at its end."""
    optimizer: Literal["adamw", "muon"]
    """`muon`: Muon for the matrices of the layers, AdamW for everything else."""
    schedule: Literal["cosine", "wsd"]
    """After the warm-up: a cosine to the end, or stable, then decay (`wsd`)."""
    decay_fraction: Annotated[float, Field(gt=0.0, le=1.0)]
    """Length of the decay of `wsd`, as a fraction of `steps`."""
    decay: Literal["linear", "1-sqrt"]
    """Shape of the decay of `wsd`."""
    learning_rate: PositiveFloat
    final_learning_rate_fraction: Fraction
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0.0)
    beta1: Fraction
    beta2: Fraction
    gradient_clip: PositiveFloat
    # The default is float16, because that is what is published: overflow then shows in training, not after it.
    precision: Literal["float16", "bfloat16", "float32"]
    objective: str
    """A module of `gptoss/train/objectives`, by its name in `gptoss.config.extensions.OBJECTIVES`."""
    fim_rate: Annotated[float, Field(ge=0.0, le=1.0)]
    """For `fill_in_the_middle`: fraction of documents that are rearranged."""
    document_mask: bool
    """Restrict attention to a token's own document, and restart positions in each document."""
    z_loss: float = Field(ge=0.0)
    """Coefficient of the squared log-normaliser (Chowdhery et al. 2022, PaLM, section 5); 0: off."""
    logit_soft_cap: PositiveFloat | None
    """Cap training logits to (-cap, cap) by tanh (Gemma Team 2024, section 2); null: off. Validation and the published
    model have no cap, because stock Llama has none."""
    loss_scale: LossScaleConfig
    spikes: SpikesConfig
    # In steps, not seconds: the validation curve must not depend on the machine.
    validate_every: PositiveInt
    validation_tokens: PositiveInt
    """Tokens of the validation split that each validation reads."""

    def sequences_per_step(self, context: int) -> int:
        """Sequences of `context` tokens in one global batch."""
        return self.batch_tokens // context

    @property
    def mixtures(self) -> dict[str, Mixture]:
        """All configured mixtures by key, for error messages."""
        given = {} if self.mixture is None else {"mixture": self.mixture}
        return given | {f"phases.{number}.mixture": phase.mixture for number, phase in enumerate(self.phases)}

    @model_validator(mode="after")
    def _schedule_fits_steps(self) -> PretrainConfig:
        begins = [phase.from_fraction for phase in self.phases]
        # A phase of no steps is more likely a typing error than intended.
        if any(earlier >= later for earlier, later in itertools.pairwise(begins)):
            raise ValueError(f"phases begin at {begins}: each from_fraction must be above the one before it")
        # Otherwise the peak is reached at the last step, or never.
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
        """Length of the decay of `wsd` in steps."""
        return max(1, round(self.decay_fraction * self.steps))

    @model_validator(mode="after")
    def _objective_is_registered(self) -> PretrainConfig:
        require_registered("pretrain.objective", self.objective, OBJECTIVES)
        return self
