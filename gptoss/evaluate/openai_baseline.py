"""Evaluate another model behind an OpenAI-compatible completions server on the same suites (`gptoss baseline`).

In: the frozen items `data/benchmarks`; `OPENAI_API_KEY` if the server requires one. Out: `reports/live/MODEL.json`,
with rows as in `scores.json`. No stage depends on it. Before anything is sent, requests, tokens and the highest
possible cost are printed and confirmed by a person (`--yes` for a script).
With the server's own tokenizer all tasks are asked, ranked answers by the log-probabilities of echoed prompts; without
one only tasks with generated answers, and tokens are estimated from the bytes. Generated programs are never run here.
Answers are kept per task (`.runs/live`) until the result is written, so that after a failure the same command asks only
the tasks that are missing. The adapter is lm-eval's `local-completions`.
Errors: an unknown suite, missing items or no confirmation are `UserError`; a server that does not answer is
`ClusterError`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lm_eval.models.openai_completions import LocalCompletionsAPI

from gptoss.core import paths
from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import ClusterError, UserError
from gptoss.eval_items.frozen_index import FileEntry, read_index
from gptoss.eval_items.suites import Suite, load_suite
from gptoss.evaluate import code_execution, harness, result_rows
from gptoss.evaluate.tasks import answer_tokens, build_task, canonical_json, read_subsets, template_sha256

# English text has about this many, for servers whose tokenizer is not known.
BYTES_PER_TOKEN = 4
MAX_NEW_TOKENS = 512
# Answers to whole tasks, until all tasks of a command are answered.
ANSWERS = paths.RUNS / "live"


@dataclass(frozen=True)
class ServerOptions:
    """The options of `gptoss baseline`, which documents them."""

    model: str
    url: str
    suite: str
    limit: int
    tokenizer: Path | None
    context: int
    concurrent: int
    input_price: float
    output_price: float
    """Dollars per million tokens."""
    yes: bool


@dataclass(frozen=True)
class AskedTask:
    """A task that the server can answer."""

    name: str
    files: list[FileEntry]
    limit: int | None
    answers: Path
    """Where its answers are kept."""


@dataclass(frozen=True)
class Estimate:
    """What a task will send, and at most receive."""

    task: str
    requests: int
    input_tokens: int
    max_output_tokens: int

    def dollars(self, per_million_in: float, per_million_out: float) -> float:
        """The highest possible cost."""
        return (self.input_tokens * per_million_in + self.max_output_tokens * per_million_out) / 1e6


def evaluate_server(options: ServerOptions) -> Path:
    """Estimate, confirm, ask, write. Returns the file of the result."""
    suite, lm = load_suite(options.suite), _language_model(options)
    tasks = _find_tasks(lm, suite, options)
    missing = [task for task in tasks if not task.answers.is_file()]
    for task in tasks:
        if task not in missing:
            print(f"{task.name}: answered before")
    if missing:
        _confirm([_estimate(lm, suite, task) for task in missing], options)
    rows = []
    for task in tasks:
        if task in missing:
            write_json(task.answers, _ask(lm, suite, task, options.url))
        measured = read_json(task.answers)
        row = result_rows.row(suite, task.name, suite.tasks[task.name], measured, None, None)
        rows.append(row | {"samples": measured["samples"]})
        print(f"{task.name}: {row['value']:.4f}", flush=True)
    path = paths.REPORTS / "live" / f"{_file_name(options.model)}.json"
    write_json(path, {"model": options.model, "url": options.url, "rows": rows})
    # Kept until here only: a new command is a new measurement, since the model behind a name may have changed.
    for task in tasks:
        task.answers.unlink(missing_ok=True)
    return path


def _language_model(options: ServerOptions) -> Any:
    """lm-eval's adapter of a completions server."""
    tokenizer = options.tokenizer and str(options.tokenizer)
    return LocalCompletionsAPI(
        model=options.model,
        base_url=options.url,
        tokenizer_backend="huggingface" if tokenizer else None,
        tokenizer=tokenizer,
        max_length=options.context,
        num_concurrent=options.concurrent,
    )


def _find_tasks(lm: Any, suite: Suite, options: ServerOptions) -> list[AskedTask]:
    """The tasks that this server can answer. Raises `UserError` if there are none."""
    index, tasks = read_index(), []
    for name, task in suite.tasks.items():
        files, limit = index.files(suite, name), suite.limit(name, options.limit)
        # Ranking answers needs to know where in an echoed prompt the answer begins, and so the tokenizer.
        can_answer = lm.tokenizer is not None or answer_tokens(name)
        if files and can_answer and not code_execution.is_program(task):
            tasks.append(AskedTask(name, files, limit, answers_file(options, suite, name, files, limit)))
    if not tasks:
        raise UserError(f"nothing of the suite {suite.name} can be asked", "name the server's own --tokenizer")
    return tasks


def answers_file(options: ServerOptions, suite: Suite, name: str, files: list[FileEntry], limit: int | None) -> Path:
    """The file for the answers to one task: another one for another model, task, items or settings."""
    identity = {
        "server": [options.model, options.url, str(options.tokenizer), options.context],
        "task": [
            suite.name,
            name,
            suite.tasks[name].model_dump(mode="json"),
            template_sha256(name),
            version("lm_eval"),
        ],
        "items": [files, limit],
        "longest_answer": MAX_NEW_TOKENS,
    }
    key = hashlib.sha256(canonical_json(identity).encode()).hexdigest()
    return ANSWERS / f"{_file_name(options.model)}-{name}-{key[:16]}.json"


def _file_name(model: str) -> str:
    """The name of a model as a part of a file name."""
    return re.sub("[^A-Za-z0-9._-]+", "-", model)


def _estimate(lm: Any, suite: Suite, asked: AskedTask) -> Estimate:
    """Requests and tokens of one task, counted on its actual prompts."""
    subsets, _ = read_subsets(paths.BENCHMARKS, asked.files, asked.limit)
    requests = []
    for subset in subsets:
        task = build_task(asked.name, suite.tasks[asked.name], subset, MAX_NEW_TOKENS)
        task.build_all_requests()
        requests += task.instances

    def count_tokens(text: str) -> int:
        return len(lm.tok_encode(text)) if lm.tokenizer is not None else -(-len(text.encode()) // BYTES_PER_TOKEN)

    sent = received = 0
    for request in requests:
        prompt, answer = request.args
        generates = isinstance(answer, dict)  # generation arguments in place of an answer
        sent += count_tokens(prompt if generates else prompt + answer)
        # An echoed prompt comes back with at least one new token.
        received += answer["max_gen_toks"] if generates else 1
    return Estimate(asked.name, len(requests), sent, received)


def _confirm(estimates: list[Estimate], options: ServerOptions) -> None:
    """Print the estimate and wait for a yes. Raises `UserError` without one."""
    prices = options.input_price, options.output_price
    for estimate in estimates:
        tokens = f"{estimate.input_tokens:,} tokens in, at most {estimate.max_output_tokens:,} out"
        print(f"{estimate.task}: {estimate.requests:,} requests, {tokens}: ${estimate.dollars(*prices):.2f}")
    total = sum(estimate.dollars(*prices) for estimate in estimates)
    print(f"in total at most ${total:.2f} at ${prices[0]:g} and ${prices[1]:g} per million tokens in and out")
    if not options.yes and input(f"Send this to {options.url}? Type yes: ").strip().lower() != "yes":
        raise UserError("nothing was sent", "type yes, or give --yes")


def _ask(lm: Any, suite: Suite, asked: AskedTask, url: str) -> dict[str, Any]:
    """What `harness.run_task` measures. Raises `ClusterError` if the server does not answer."""
    task = suite.tasks[asked.name]
    try:
        return harness.run_task(
            lm, suite.name, asked.name, task, asked.files, paths.BENCHMARKS,
            limit=asked.limit, max_new_tokens=MAX_NEW_TOKENS,
        )  # fmt: skip
    except OSError as error:  # the errors of aiohttp and requests are OSError
        raise ClusterError(
            f"{url}: {error}",
            "start the server, or correct --url; the same command continues with the tasks that are missing",
        ) from error
