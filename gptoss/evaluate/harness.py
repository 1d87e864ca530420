"""Run one row of a suite through lm-eval's own evaluator, and keep what each item got.

lm-eval builds the prompts, ranks or generates, filters and scores; nothing of that is done again here. Aggregation
over subsets, standard errors and subset scores come from the per-item scores (`statistics.py`), so that they are the
same arithmetic for a task, a task of 57 subjects and a clean subset.
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
from gptoss.eval_items.suites import Task
from gptoss.evaluate.published_model import PublishedModel
from gptoss.evaluate.shared_prefix import SharedPrefixLM
from gptoss.evaluate.statistics import DIGITS
from gptoss.evaluate.tasks import SEED, FrozenTask, answer_tokens, build, read_subsets, sample_id

PROMPT_TAIL = 200
"""Characters of the prompt that `samples.jsonl` keeps."""


def language_model(model: PublishedModel, batch_size: int) -> HFLM:
    """lm-eval's adapter around the loaded model: fixed batch size, no BOS before prompts (as `lm_eval --model hf` does
    for this tokenizer) and the end-of-text token in place of an empty one, prompts that overflow the context cut on the
    left, shared beginnings computed once; log-probabilities are made and summed in float32 of whatever type the logits
    are."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return SharedPrefixLM(
        pretrained=model.network,
        tokenizer=model.tokenizer,
        backend="causal",
        batch_size=batch_size,
        max_length=model.context,
        softmax_dtype="float32",
        add_bos_token=False,
        prefix_token_id=model.end_of_text,
    )


def run_task(
    lm: HFLM,
    suite: str,
    name: str,
    task: Task,
    entries: Sequence[Mapping[str, Any]],
    folder: Path,
    *,
    limit: int | None,
    max_new_tokens: int,
) -> dict[str, Any]:
    """Evaluate one row. Returns `{"items": all there are, "truncated", "fewshot", "samples": [...]}`, where a sample
    is a line of `samples.jsonl`. `max_new_tokens` is also kept to half the context, so that a prompt fits."""
    longest_answer = max(1, min(max_new_tokens, lm.max_length // 2))
    subsets, total = read_subsets(folder, entries, limit)
    tasks = {(built := build(name, task, subset, longest_answer)).task_name: built for subset in subsets}
    random.seed(SEED)
    np.random.seed(SEED)
    with quiet_progress(f"{suite}/{name}"):
        results = lm_evaluate(lm=lm, task_dict={"tasks": tasks, "groups": {}}, log_samples=True, bootstrap_iters=1)
    cut = {key for built in tasks.values() for key in truncated(lm, built)}
    samples = [
        sample(suite, name, task, task_name, logged, (task_name, logged["doc_id"]) in cut)
        | (generated(lm, logged, longest_answer) if answer_tokens(name) else {})
        for task_name in tasks
        for logged in results["samples"][task_name]
    ]
    fewshot = sorted({entry["split"] for entry in entries if entry["role"] == "fewshot"}) or [task.evaluated]
    return {
        "items": total,
        "truncated": len(cut),
        "fewshot": fewshot[0] if task.shots else None,
        "longest_answer": {"tokens": min(asked, longest_answer), "asked": asked}
        if (asked := answer_tokens(name))
        else None,
        "samples": samples,
    }


def truncated(lm: HFLM, task: FrozenTask) -> set[tuple[str, int]]:
    """`(task, document id)` of the items of which lm-eval cut a prompt to fit the context."""
    found = set()
    for request in task.instances:
        prompt, answer = request.args[0], request.args[1]
        if request.request_type == "loglikelihood":
            before, after = lm._encode_pair(prompt, answer) if prompt else ([lm.prefix_token_id], lm.tok_encode(answer))
            overflows = len(before) + len(after) > lm.max_length + 1
        else:
            overflows = len(lm.tok_encode(prompt)) > lm.max_length - answer["max_gen_toks"]
        if overflows:
            found.add((task.task_name, request.doc_id))
    return found


def generated(lm: HFLM, logged: Mapping[str, Any], longest_answer: int) -> dict[str, Any]:
    """Tokens of a generated answer as they are read back, and whether it ended only because it was that long."""
    if lm.tokenizer is None:  # a server whose tokenizer is not known
        return {}
    tokens = len(lm.tok_encode(str(logged["resps"][0][0])))
    return {
        "answer_tokens": tokens,
        "cut_short": tokens >= min(longest_answer, logged["arguments"][0][1]["max_gen_toks"]),
    }


def sample(suite: str, name: str, task: Task, task_name: str, logged: Mapping[str, Any], cut: bool) -> dict[str, Any]:
    """One evaluated item: what was asked (its end), what is right, what the model answered, how it scored."""
    prompt = str(logged["arguments"][0][0])
    kept = {
        "suite": suite,
        "task": name,
        "item": sample_id(task_name, logged["doc_id"]),
        "prompt": prompt[-PROMPT_TAIL:],
        "prompt_sha256": hashlib.sha256(prompt.encode()).hexdigest()[:16],
        "truncated": cut,
        "scores": {metric: round(float(logged[metric]), DIGITS) for metric in logged["metrics"]},
    }
    if isinstance(logged["arguments"][0][1], Mapping):
        answer, generated = str(logged["filtered_resps"][0]), str(logged["resps"][0][0])
        return kept | {"target": str(logged["target"]), "answer": answer, "generated": generated}
    if len(logged["arguments"]) == 1:
        return kept | continued(logged)
    return kept | ranked(name, task.metric, logged)


def continued(logged: Mapping[str, Any]) -> dict[str, Any]:
    """Target of a continuation, whether greedy decoding writes it (another answer is not known), and its ln p."""
    target = logged["arguments"][0][1].strip()
    likelihood, greedy = logged["filtered_resps"][0]
    return {
        "target": target,
        "answer": target if greedy else "",
        "log_likelihoods": [round(float(likelihood), DIGITS)],
    }


def ranked(name: str, metric: str, logged: Mapping[str, Any]) -> dict[str, Any]:
    """Target and answer of a multiple choice item as texts, ln p of each choice, and the confidence in the answer: its
    share of exp(ln p) over the choices. `acc_norm` takes the choice that is the most likely per character, as lm-eval
    does, and its confidence is of the likelihoods per character too."""
    if name == "winogrande":  # the choice stands in the prompt
        choices, gold = logged["doc"]["options"], logged["doc"]["answer"]
    else:
        choices, gold = [arguments[1].strip() for arguments in logged["arguments"]], int(logged["target"])
    likelihoods = [float(answer[0]) for answer in logged["filtered_resps"]]
    lengths = [len(choice) if metric == "acc_norm" else 1 for choice in choices]
    ranks = np.array([likelihood / length for likelihood, length in zip(likelihoods, lengths, strict=True)])
    best = int(np.argmax(ranks))
    return {
        "target": choices[gold],
        "answer": choices[best],
        "log_likelihoods": [round(likelihood, DIGITS) for likelihood in likelihoods],
        "confidence": round(float(1 / np.exp(ranks - ranks[best]).sum()), DIGITS),
    }


class _Lines(io.TextIOBase):
    """Turns the bars that lm-eval draws into plain lines, at most one every few seconds."""

    def __init__(self, label: str, stream: Any) -> None:
        self.label = label
        self.stream = stream
        self.shown = time.monotonic()

    def write(self, text: str) -> int:
        line = text.replace("\r", "").strip()
        if line and time.monotonic() - self.shown >= SECONDS_BETWEEN_LINES:
            self.stream.write(f"{self.label}: {line}\n")
            self.stream.flush()
            self.shown = time.monotonic()
        return len(text)


@contextlib.contextmanager
def quiet_progress(label: str) -> Iterator[None]:
    """lm-eval's progress bars on a terminal; a throttled line elsewhere."""
    if sys.stderr.isatty():
        yield
        return
    with contextlib.redirect_stderr(_Lines(label, sys.stderr)):
        yield
