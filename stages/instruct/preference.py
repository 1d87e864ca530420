"""Direct preference optimisation of the fine-tuned model (Rafailov et al. 2023), by trl, from ranked replies.

In: OpenAssistant trees. Wherever a message of the user has several ranked replies, the best and the worst are a pair;
the conversation up to there is its prompt. The reference is the model as the supervised steps left it: its
log-probabilities are computed once, before the first step. Resumes from its own checkpoints, which are those of
exactly this corpus and these pairs, and ends in the bytes of an undisturbed run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stages.errors import DataError
from stages.instruct.conversations import expand
from stages.settings import Settings
from stages.tracking import StageRun

Pair = dict[str, list[dict[str, str]]]
"""`prompt`, `chosen` and `rejected`, each a list of messages."""
ROLES = {"prompter": "user", "assistant": "assistant"}


def read_pairs(patterns: Sequence[str]) -> list[Pair]:
    """The pairs of all trees. Raises `UserError` for a pattern that matches nothing, `DataError` for a line that is no
    tree and when no tree ranks any replies."""
    pairs: list[Pair] = []
    for path in expand(patterns):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.strip():
                pairs += _tree(line, path, number)
    if not pairs:
        raise DataError(
            f"{', '.join(patterns)}: no message has two ranked replies",
            "give OpenAssistant trees whose replies carry a rank, or set instruct.preference to null",
        )
    return pairs


def _tree(line: str, path: Path, number: int) -> list[Pair]:
    try:
        return list(_branch(json.loads(line)["prompt"], []))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}, line {number} is no OpenAssistant tree ({type(error).__name__}: {error})",
            'each line is {"prompt": {"text", "role", "replies": [{"text", "role", "rank", "replies"}, …]}}',
        ) from None


def _branch(node: dict[str, Any], before: list[dict[str, str]]) -> Iterator[Pair]:
    so_far = [*before, {"role": ROLES[node["role"]], "content": node["text"].strip()}]
    replies = node.get("replies") or []
    ranked = sorted((r for r in replies if isinstance(r.get("rank"), int)), key=lambda reply: reply["rank"])
    if node["role"] == "prompter" and len(ranked) > 1:
        chosen, rejected = ({"role": "assistant", "content": r["text"].strip()} for r in (ranked[0], ranked[-1]))
        yield {"prompt": so_far, "chosen": [chosen], "rejected": [rejected]}
    for reply in replies:
        yield from _branch(reply, so_far)


def optimise(model: Any, tokenizer: Any, settings: Settings, run: StageRun, corpus: str) -> dict[str, float]:
    """Train `model` in place, after the supervised steps on the corpus of this digest; returns the number of pairs, and
    loss and accuracy (how often the chosen reply has the higher reward) at the end. Pairs longer than
    `instruct.max_length` are left out."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    options = settings.instruct
    assert options.preference
    pairs = [pair for pair in read_pairs(options.preference.data) if _fits(pair, tokenizer, options.max_length)]
    if not pairs:
        raise DataError(
            f"no pair of {', '.join(options.preference.data)} fits instruct.max_length({options.max_length})",
            "raise instruct.max_length or give shorter trees",
        )
    from stages.instruct.training import resumable

    state = resume_folder(run, corpus, pairs)
    trainer = _trainer(model, tokenizer, Dataset.from_list(pairs), settings, run, state)
    _drop_reference(model)
    checkpoint = resumable(state)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    last = [entry for entry in trainer.state.log_history if "rewards/accuracies" in entry][-1]
    return {"pairs": len(pairs), "loss": round(last["loss"], 6), "accuracy": round(last["rewards/accuracies"], 6)}


def resume_folder(run: StageRun, corpus: str, pairs: list[Pair]) -> Path:
    """The checkpoints of exactly these pairs after exactly this corpus: the user's files are no DVC dependency, so the
    stage's own fingerprint does not know them."""
    ranked = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()
    return run.state / "preference" / f"{corpus[:16]}-{ranked[:16]}"


def _drop_reference(model: Any) -> None:
    """Take the copy of the adapter that trl has made of it out again, once it has given the log-probabilities of the
    reference: a checkpoint would hold it as a subfolder, and transformers, finding one, would load nothing else."""
    if "ref" in getattr(model, "peft_config", {}):
        model.delete_adapter("ref")
        model.set_adapter("default")


def _fits(pair: Pair, tokenizer: Any, length: int) -> bool:
    return all(
        len(tokenizer.apply_chat_template(pair["prompt"] + pair[side], return_dict=True)["input_ids"]) <= length
        for side in ("chosen", "rejected")
    )


def _trainer(model: Any, tokenizer: Any, pairs: Any, settings: Settings, run: StageRun, state: Path) -> Any:
    from transformers import PrinterCallback
    from trl import DPOTrainer

    from stages.instruct.training import Sealer

    tokenizer.padding_side = "left"
    trainer = DPOTrainer(
        model=model,
        args=_arguments(settings, state),
        train_dataset=pairs,
        processing_class=tokenizer,
        callbacks=[Sealer(lambda values, step: run.metrics({f"preference_{k}": v for k, v in values.items()}, step))],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(settings: Settings, state: Path) -> Any:
    from trl import DPOConfig

    from stages.instruct.training import CHECKPOINT_EVERY, LOG_EVERY, on_one_gpu

    options = settings.instruct
    assert options.preference
    arguments = DPOConfig(
        output_dir=str(state),
        beta=options.preference.beta,
        learning_rate=options.preference.learning_rate,
        num_train_epochs=options.preference.epochs,
        per_device_train_batch_size=options.batch_size,
        max_length=options.max_length,
        precompute_ref_log_probs=True,
        gradient_checkpointing=options.gradient_checkpointing,
        lr_scheduler_type="cosine",
        seed=settings.seed,
        data_seed=settings.seed,
        full_determinism=True,
        logging_steps=LOG_EVERY,
        logging_nan_inf_filter=False,
        save_steps=CHECKPOINT_EVERY,
        save_total_limit=2,
        bf16=False,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    return on_one_gpu(arguments)
