"""Run one task of a suite through lm-eval's own evaluator, and record the result of each item.

lm-eval builds the prompts, ranks or generates, filters and scores. Aggregation over subsets, standard errors and subset
scores are computed from the per-item scores (`statistics.py`), with the same arithmetic for a task, a task of 57
subjects and a subset of uncontaminated items.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lm_eval.evaluator import evaluate as lm_evaluate
from lm_eval.models.huggingface import HFLM

from gptoss.core.progress import SECONDS_BETWEEN_LINES
from gptoss.eval_items.frozen_index import FileEntry
from gptoss.eval_items.suites import Task
from gptoss.evaluate.published_model import PublishedModel
from gptoss.evaluate.shared_prefix import SharedPrefixLM
from gptoss.evaluate.statistics import DIGITS
from gptoss.evaluate.tasks import SEED, FrozenTask, answer_tokens, build_task, read_subsets, sample_id

# Characters of the prompt that `samples.jsonl` keeps.
PROMPT_TAIL = 200


def language_model(model: PublishedModel, batch_size: int) -> HFLM:
    """lm-eval's adapter of the loaded model. An empty prompt is the end-of-text token; prompts longer than the context
    are cut on the left; log-probabilities are computed and summed in float32 whatever the dtype of the logits."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return SharedPrefixLM(
        pretrained=model.network,
        tokenizer=model.tokenizer,
        backend="causal",
        batch_size=batch_size,
        max_length=model.context,
        softmax_dtype="float32",
        add_bos_token=False,  # as `lm_eval --model hf` decides for this tokenizer
        prefix_token_id=model.end_of_text,
    )


def run_task(
    lm: HFLM,
    suite: str,
    name: str,
    task: Task,
    files: Sequence[FileEntry],
    folder: Path,
    *,
    limit: int | None,
    max_new_tokens: int,
) -> dict[str, Any]:
    """Evaluate one task on the frozen `files`, whose paths are relative to `folder`. Returns `{"items": all there are,
    "truncated", "fewshot", "longest_answer", "samples": [...]}`, where a sample is a line of `samples.jsonl`."""
    # At least half of the context is left for the prompt.
    longest_answer = max(1, min(max_new_tokens, lm.max_length // 2))
    subsets, total = read_subsets(folder, files, limit)
    tasks = {(built := build_task(name, task, subset, longest_answer)).task_name: built for subset in subsets}
    # `simple_evaluate` of lm-eval seeds both generators; `evaluate`, which takes tasks as objects, does not.
    random.seed(SEED)
    np.random.seed(SEED)
    with quiet_progress(f"{suite}/{name}"):
        # `bootstrap_iters=1`: its standard errors are not used.
        results = lm_evaluate(lm=lm, task_dict={"tasks": tasks, "groups": {}}, log_samples=True, bootstrap_iters=1)
    asked_tokens = answer_tokens(name)
    truncated = {key for built in tasks.values() for key in truncated_items(lm, built)}
    samples = [
        make_sample(suite, name, task, task_name, logged, (task_name, logged["doc_id"]) in truncated)
        | (answer_length(lm, logged, longest_answer) if asked_tokens else {})
        for task_name in tasks
        for logged in results["samples"][task_name]
    ]
    fewshot = sorted({entry["split"] for entry in files if entry["role"] == "fewshot"}) or [task.evaluated]
    return {
        "items": total,
        "truncated": len(truncated),
        "fewshot": fewshot[0] if task.shots else None,
        "longest_answer": asked_tokens and {"tokens": min(asked_tokens, longest_answer), "asked": asked_tokens},
        "samples": samples,
    }


def truncated_items(lm: HFLM, task: FrozenTask) -> set[tuple[str, int]]:
    """`(task name, document id)` of the items with a prompt that lm-eval cut to fit the context."""
    found = set()
    for request in task.instances:
        prompt, answer = request.args[0], request.args[1]
        if request.request_type == "loglikelihood":
            before, after = lm._encode_pair(prompt, answer) if prompt else ([lm.prefix_token_id], lm.tok_encode(answer))
            # One token more than the context fits: the last one is predicted, not read.
            overflows = len(before) + len(after) > lm.max_length + 1
        else:
            overflows = len(lm.tok_encode(prompt)) > lm.max_length - answer["max_gen_toks"]
        if overflows:
            found.add((task.task_name, request.doc_id))
    return found


def answer_length(lm: HFLM, logged: Mapping[str, Any], longest_answer: int) -> dict[str, Any]:
    """Tokens of a generated answer when it is encoded again, and whether it reached the limit."""
    if lm.tokenizer is None:  # a server whose tokenizer is not known
        return {}
    tokens = len(lm.tok_encode(str(logged["resps"][0][0])))
    return {
        "answer_tokens": tokens,
        "cut_short": tokens >= min(longest_answer, logged["arguments"][0][1]["max_gen_toks"]),
    }


def make_sample(
    suite: str, name: str, task: Task, task_name: str, logged: Mapping[str, Any], truncated: bool
) -> dict[str, Any]:
    """One evaluated item: the end of its prompt, the right answer, the model's answer, and the scores."""
    prompt, request = str(logged["arguments"][0][0]), logged["arguments"][0][1]
    # The end of a prompt is the question; its hash identifies the whole for paired comparisons.
    sample = {
        "suite": suite,
        "task": name,
        "item": sample_id(task_name, logged["doc_id"]),
        "prompt": prompt[-PROMPT_TAIL:],
        "prompt_sha256": hashlib.sha256(prompt.encode()).hexdigest()[:16],
        "truncated": truncated,
        "scores": {metric: round(float(logged[metric]), DIGITS) for metric in logged["metrics"]},
    }
    if isinstance(request, Mapping):  # generation arguments in place of an answer
        return sample | {
            "target": str(logged["target"]),
            "answer": str(logged["filtered_resps"][0]),
            "generated": str(logged["resps"][0][0]),
        }
    if len(logged["arguments"]) == 1:
        return sample | describe_continuation(logged)
    return sample | describe_choice(task.metric, logged)


def describe_continuation(logged: Mapping[str, Any]) -> dict[str, Any]:
    """Target of a continuation, its ln p, and the target as the answer if greedy decoding writes it. What else greedy
    decoding would write is not known."""
    target = logged["arguments"][0][1].strip()
    likelihood, greedy = logged["filtered_resps"][0]
    return {
        "target": target,
        "answer": target if greedy else "",
        "log_likelihoods": [round(float(likelihood), DIGITS)],
    }


def describe_choice(metric: str, logged: Mapping[str, Any]) -> dict[str, Any]:
    """Target and answer of a multiple-choice item as texts, ln p of each choice, and the confidence in the answer: its
    share of exp(ln p) over the choices. `acc_norm` takes the choice that is the most likely per character, as lm-eval
    does, and its confidence is computed from the likelihoods per character too."""
    choices = [arguments[1].strip() for arguments in logged["arguments"]]
    if len(set(choices)) > 1:
        gold = int(logged["target"])
    else:  # the choice is in the prompt (WinoGrande); such items have the columns `options` and `answer`
        choices, gold = logged["doc"]["options"], logged["doc"]["answer"]
    likelihoods = [float(answer[0]) for answer in logged["filtered_resps"]]
    lengths = [len(choice) if metric == "acc_norm" else 1 for choice in choices]
    ranks = np.array([likelihood / length for likelihood, length in zip(likelihoods, lengths, strict=True)])
    best = int(np.argmax(ranks))
    # Subtracting the best rank keeps `exp` from underflowing: ln p of a long answer may be below -700.
    return {
        "target": choices[gold],
        "answer": choices[best],
        "log_likelihoods": [round(likelihood, DIGITS) for likelihood in likelihoods],
        "confidence": round(float(1 / np.exp(ranks - ranks[best]).sum()), DIGITS),
    }


class _ThrottledLines(io.TextIOBase):
    """Turns the progress bars of lm-eval into plain lines, at most one every few seconds."""

    def __init__(self, label: str, stream: Any) -> None:
        self.label = label
        self.stream = stream
        self.last_line = time.monotonic()

    def write(self, text: str) -> int:
        line = text.replace("\r", "").strip()
        if line and time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self.stream.write(f"{self.label}: {line}\n")
            self.stream.flush()
            self.last_line = time.monotonic()
        return len(text)


@contextlib.contextmanager
def quiet_progress(label: str) -> Iterator[None]:
    """lm-eval's progress bars on a terminal; throttled lines elsewhere."""
    if sys.stderr.isatty():
        yield
        return
    with contextlib.redirect_stderr(_ThrottledLines(label, sys.stderr)):
        yield
