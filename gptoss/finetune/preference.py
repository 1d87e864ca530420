"""Direct preference optimisation of the fine-tuned model (Rafailov et al. 2023), by trl, from ranked replies.

In: OpenAssistant trees. Wherever a message of the user has several ranked replies, the best and the worst are a pair;
the conversation up to there is its prompt. A pair that is empty somewhere or spells a control token is rejected, as a
line of a chat file is (`chat_formats.py`). The reference is the model as the supervised steps left it: its
log-probabilities are computed once, before the first step. Resumes from its own checkpoints, which are those of
exactly this corpus and these pairs, and ends in the bytes of an undisturbed run.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gptoss.config.instruct import InstructConfig
from gptoss.config.settings import Settings
from gptoss.core.errors import DataError
from gptoss.finetune.chat_formats import LineError, normalised
from gptoss.finetune.conversations import MAX_LINE_BYTES, Rejected, expand, lines, require_usable
from gptoss.tracking.mlflow_run import StageRun

Pair = dict[str, list[dict[str, str]]]
"""`prompt`, `chosen` and `rejected`, each a list of messages."""
ROLES = {"prompter": "user", "assistant": "assistant"}


@dataclass
class Preferences:
    """The pairs to learn from in file order, what was rejected, and pairs by file and outcome."""

    pairs: list[Pair] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    files: dict[str, dict[str, int]] = field(default_factory=dict)


def read_preferences(options: InstructConfig, tokenizer: Any, control_tokens: Collection[str]) -> Preferences | None:
    """What `instruct.preference` names, without pairs longer than `instruct.max_length`; None where it is null."""
    if options.preference is None:
        return None
    found = read_pairs(options.preference.data, control_tokens)
    found.pairs = [pair for pair in found.pairs if _fits(pair, tokenizer, options.max_length)]
    if not found.pairs:
        raise DataError(
            f"no pair of {', '.join(options.preference.data)} fits instruct.max_length({options.max_length})",
            "raise instruct.max_length or give shorter trees",
        )
    return found


def read_pairs(patterns: Sequence[str], control_tokens: Collection[str]) -> Preferences:
    """The pairs of all trees. Raises `UserError` for a pattern that matches nothing, `DataError` for a line that is no
    tree, a file with too many bad pairs, and when no tree ranks any replies."""
    found = Preferences()
    for path in expand(patterns):
        outcomes: Counter[str] = Counter()
        for number, line in lines(path):
            for pair in _tree(line, path, number):
                try:
                    found.pairs.append(_checked(pair, control_tokens))
                    outcomes["used"] += 1
                except LineError as bad:
                    found.rejected.append(Rejected(str(path), number, bad.reason, bad.detail))
                    outcomes["rejected"] += 1
        fix = "mend the file or take it out of instruct.preference.data"
        require_usable(path, "pairs", outcomes, found.rejected, fix)
        found.files[str(path)] = {key: outcomes[key] for key in ("used", "rejected")}
    if not found.pairs:
        raise DataError(
            f"{', '.join(patterns)}: no message has two ranked replies",
            "give OpenAssistant trees whose replies carry a rank, or set instruct.preference to null",
        )
    return found


def _tree(line: bytes | None, path: Path, number: int) -> list[Pair]:
    if line is None:
        raise DataError(f"{path}, line {number} has more than {MAX_LINE_BYTES} bytes", "write one tree a line")
    try:
        return list(_branch(json.loads(line.decode("utf-8"))["prompt"], []))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {number} is not UTF-8 ({error.reason} at byte {error.start} of the line)", "save it as UTF-8"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path}, line {number} is no OpenAssistant tree ({type(error).__name__}: {error})",
            'each line is {"prompt": {"text", "role", "replies": [{"text", "role", "rank", "replies"}, …]}}',
        ) from None


def _checked(pair: Pair, control_tokens: Collection[str]) -> Pair:
    """The pair itself, if both of its sides are conversations. Raises `LineError`."""
    for side in ("chosen", "rejected"):
        messages = [(message["role"], message["content"]) for message in pair["prompt"] + pair[side]]
        normalised(messages, control_tokens)
    return pair


def _branch(node: dict[str, Any], before: list[dict[str, str]]) -> Iterator[Pair]:
    so_far = [*before, {"role": ROLES[node["role"]], "content": node["text"].strip()}]
    replies = node.get("replies") or []
    ranked = sorted((r for r in replies if isinstance(r.get("rank"), int)), key=lambda reply: reply["rank"])
    if node["role"] == "prompter" and len(ranked) > 1:
        chosen, rejected = ({"role": "assistant", "content": r["text"].strip()} for r in (ranked[0], ranked[-1]))
        yield {"prompt": so_far, "chosen": [chosen], "rejected": [rejected]}
    for reply in replies:
        yield from _branch(reply, so_far)


def optimise(
    model: Any, tokenizer: Any, preferences: Preferences, settings: Settings, run: StageRun, corpus: str
) -> dict[str, float]:
    """Train `model` in place, after the supervised steps on the corpus of this digest; returns the numbers of pairs,
    and loss and accuracy (how often the chosen reply has the higher reward) at the end."""
    from datasets import Dataset, disable_progress_bars

    from gptoss.finetune.training import resumable

    disable_progress_bars()
    pairs = preferences.pairs
    state = resume_folder(run, corpus, pairs)
    trainer = _trainer(model, tokenizer, Dataset.from_list(pairs), settings, run, state)
    _drop_reference(model)
    checkpoint = resumable(state)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    last = [entry for entry in trainer.state.log_history if "rewards/accuracies" in entry][-1]
    return {
        "pairs": len(pairs),
        "rejected": len(preferences.rejected),
        "loss": round(last["loss"], 6),
        "accuracy": round(last["rewards/accuracies"], 6),
    }


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

    from gptoss.finetune.training import Sealer

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

    from gptoss.finetune.training import CHECKPOINT_EVERY, LOG_EVERY, on_one_gpu

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
