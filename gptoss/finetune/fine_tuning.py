"""Fine-tune a base model on conversations, then on preferences, with the held-out loss before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gptoss.config.instruct import InstructConfig
from gptoss.finetune import adapters, training
from gptoss.finetune.examples import Examples
from gptoss.finetune.preference_pairs import Preferences
from gptoss.finetune.preference_training import train_preferences
from gptoss.tracking.mlflow_run import StageRun


@dataclass(frozen=True)
class TrainingResult:
    """The fine-tuned model and what was measured."""

    model: Any
    """A peft model around the base, unless the method is `full`."""
    parameters: dict[str, int]
    """Number of `trained` and of all (`total`) parameters, the latter without the adapter."""
    points: list[training.LossPoint]
    loss_before: float
    """Held-out loss of the base in nats per token."""
    loss: float
    """Held-out loss of the fine-tuned model on the same conversations."""
    preference: dict[str, float] | None


def fine_tune(
    base: Any,
    tokenizer: Any,
    examples: Examples,
    preferences: Preferences | None,
    config: InstructConfig,
    run: StageRun,
    *,
    seed: int,
    corpus_digest: str,
) -> TrainingResult:
    """Train `base` in place. A killed run continues from its checkpoints. Raises `DataError` if training diverges."""
    pad_id, preference = tokenizer.pad_token_id, None
    loss_before = training.held_out_loss(base, examples.held_out, config.batch_size, pad_id)
    total = base.num_parameters()  # before the adapter adds its own
    model = adapters.make_trainable(base, config, seed)
    trained = adapters.count_trained(model)
    # The user's files are not DVC dependencies, so the fingerprint of the stage does not cover them: the digest does.
    state = run.state / "trainer" / corpus_digest[:16]
    points = training.train(model, examples, config, seed=seed, pad_id=pad_id, state=state, log=run.log_metrics)
    if preferences:
        preference = train_preferences(
            model, tokenizer, preferences, config, run, seed=seed, corpus_digest=corpus_digest
        )
    loss = training.held_out_loss(model, examples.held_out, config.batch_size, pad_id)
    return TrainingResult(model, {"trained": trained, "total": total}, points, loss_before, loss, preference)
