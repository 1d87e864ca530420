"""Direct preference optimization of the fine-tuned model (Rafailov et al. 2023), by trl.

The reference is the model after the supervised steps. Training resumes from its own checkpoints, which belong to
exactly these conversations and pairs, and ends in the bytes of an uninterrupted run.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from gptoss.config.instruct import InstructConfig
from gptoss.finetune.preference_pairs import Pair, Preferences
from gptoss.finetune.training import CheckpointCallback, run_trainer, shared_arguments, use_one_gpu
from gptoss.tracking.mlflow_run import StageRun


def train_preferences(
    model: Any,
    tokenizer: Any,
    preferences: Preferences,
    config: InstructConfig,
    run: StageRun,
    *,
    seed: int,
    corpus_digest: str,
) -> dict[str, float]:
    """Train `model` in place, after the supervised steps on the conversations with this digest. Returns the numbers of
    pairs, and loss and accuracy (how often the chosen reply has the higher reward) at the end."""
    # Imported here: trl takes seconds to import, and most runs have no preferences.
    from datasets import Dataset, disable_progress_bars
    from trl import DPOTrainer

    disable_progress_bars()
    state = _state_folder(run, corpus_digest, preferences.pairs)
    tokenizer.padding_side = "left"  # prompts then end at the same position
    trainer = DPOTrainer(
        model=model,
        args=_arguments(config, seed, state),
        train_dataset=Dataset.from_list(preferences.pairs),
        processing_class=tokenizer,
        callbacks=[
            CheckpointCallback(
                lambda values, step: run.log_metrics({f"preference_{key}": values[key] for key in values}, step)
            )
        ],
    )
    _drop_reference_adapter(model)
    run_trainer(trainer, state)
    last = [entry for entry in trainer.state.log_history if "rewards/accuracies" in entry][-1]
    return {
        "pairs": len(preferences.pairs),
        "rejected": len(preferences.rejected),
        "loss": round(last["loss"], 6),
        "accuracy": round(last["rewards/accuracies"], 6),
    }


def _state_folder(run: StageRun, corpus_digest: str, pairs: list[Pair]) -> Path:
    """The folder for checkpoints of these pairs after this corpus."""
    # The user's files are not DVC dependencies, so the fingerprint of the stage does not cover them.
    pairs_digest = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
    return run.state / "preference" / f"{corpus_digest[:16]}-{pairs_digest[:16]}"


def _drop_reference_adapter(model: Any) -> None:
    """Remove the copy of the adapter that trl makes as the reference, once its log-probabilities are computed."""
    # A checkpoint would hold the copy as a subfolder, and transformers, finding one, would load nothing else.
    if "ref" in getattr(model, "peft_config", {}):
        model.delete_adapter("ref")
        model.set_adapter("default")


def _arguments(config: InstructConfig, seed: int, state: Path) -> Any:
    from trl import DPOConfig

    assert config.preference
    arguments = DPOConfig(
        **shared_arguments(config, seed, state),
        beta=config.preference.beta,
        learning_rate=config.preference.learning_rate,
        num_train_epochs=config.preference.epochs,
        max_length=config.max_length,
        precompute_ref_log_probs=True,  # once, before the first step, instead of a second model in memory
        bf16=False,  # trl's default is true
    )
    return use_one_gpu(arguments)
