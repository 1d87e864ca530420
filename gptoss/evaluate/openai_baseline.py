"""A live baseline: the same suites asked of a model behind an OpenAI-compatible completions server.

    gptoss baseline MODEL --url http://HOST/v1/completions [--suite gpt4] [--limit 20]

In: the frozen items `data/benchmarks`; `OPENAI_API_KEY` where the server wants one. Out: `reports/live/MODEL.json`, its
rows as in `scores.json`; it observes another model, so no stage depends on it. Before anything is sent, requests,
tokens and the most they can cost are printed, and a person agrees in a word (`--yes` for a script).
With `--tokenizer FOLDER` (the server's own) all tasks are asked, ranked answers through the log-probabilities of echoed
prompts; without one only tasks whose answers are written, and tokens are estimated as a quarter of the bytes.
Programs are never run here. Answers are kept a task at a time (`.runs/live`) until the result is written; after a
failure the same command asks only the tasks that are missing. Wrong: no such suite or items, or no agreement, is
`UserError`; a server that does not answer is `ClusterError`. The adapter is lm-eval's `local-completions`.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptoss.core import paths
from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import ClusterError, UserError
from gptoss.eval_items.suites import Suite, load_suite

BYTES_PER_TOKEN = 4
MAX_NEW_TOKENS = 512
ANSWERED = paths.RUNS / "live"
"""Answers to whole tasks, until all tasks of a command are answered."""


@dataclass(frozen=True)
class Estimate:
    """What one task will send and can cost."""

    task: str
    requests: int
    input_tokens: int
    output_tokens: int
    """At most."""

    def dollars(self, per_million_in: float, per_million_out: float) -> float:
        """The most it can cost."""
        return (self.input_tokens * per_million_in + self.output_tokens * per_million_out) / 1e6


def language_model(arguments: argparse.Namespace) -> Any:
    """lm-eval's adapter of a completions server."""
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    tokenizer = arguments.tokenizer and str(arguments.tokenizer)
    return LocalCompletionsAPI(
        model=arguments.model,
        base_url=arguments.url,
        tokenizer_backend="huggingface" if tokenizer else None,
        tokenizer=tokenizer,
        max_length=arguments.context,
        num_concurrent=arguments.concurrent,
    )


def plan(lm: Any, suite: Suite, limit: int | None) -> dict[str, Any]:
    """The tasks that can be asked of this server, with their files in the index of the frozen items."""
    from gptoss.evaluate.code_execution import EXECUTED
    from gptoss.evaluate.tasks import answer_tokens
    from stages.evaluate import frozen_index

    items = frozen_index()["items"]
    tasks = {}
    for name in suite.tasks:
        entries = [one for one in items if (one["suite"], one["task"]) == (suite.name, suite.source(name))]
        if entries and name not in EXECUTED and (lm.tokenizer is not None or answer_tokens(name)):
            tasks[name] = entries
    if not tasks:
        raise UserError(f"nothing of the suite {suite.name} can be asked", "name the server's own --tokenizer")
    return tasks


def estimate(lm: Any, suite: Suite, name: str, entries: list[Any], limit: int | None) -> Estimate:
    """Requests and tokens of one task, from its very prompts."""
    from gptoss.evaluate.tasks import build, read_subsets

    subsets, _ = read_subsets(paths.BENCHMARKS, entries, limit)
    requests = []
    for subset in subsets:
        task = build(name, suite.tasks[name], subset, MAX_NEW_TOKENS)
        task.build_all_requests()
        requests += task.instances

    def tokens(text: str) -> int:
        return len(lm.tok_encode(text)) if lm.tokenizer is not None else -(-len(text.encode()) // BYTES_PER_TOKEN)

    asked = [request.args for request in requests]
    written = [answer["max_gen_toks"] if isinstance(answer, dict) else 1 for _, answer in asked]
    sent = [tokens(prompt + ("" if isinstance(answer, dict) else answer)) for prompt, answer in asked]
    return Estimate(name, len(requests), sum(sent), sum(written))


def agree(estimates: list[Estimate], arguments: argparse.Namespace) -> None:
    """Print the estimate and wait for a yes. Raises `UserError` when there is none."""
    prices = arguments.input_price, arguments.output_price
    for one in estimates:
        tokens = f"{one.input_tokens:,} tokens in, at most {one.output_tokens:,} out"
        print(f"{one.task}: {one.requests:,} requests, {tokens}: ${one.dollars(*prices):.2f}")
    total = sum(one.dollars(*prices) for one in estimates)
    print(f"in all at most ${total:.2f} at ${prices[0]:g} and ${prices[1]:g} a million tokens in and out")
    if not arguments.yes and input(f"Send this to {arguments.url}? Type yes: ").strip().lower() != "yes":
        raise UserError("nothing was sent", "type yes, or give --yes")


def answers_file(arguments: argparse.Namespace, suite: Suite, name: str, entries: list[Any], limit: int | None) -> Path:
    """Where the answers to one task are kept: another file for another model, task, items or settings."""
    from importlib.metadata import version

    from gptoss.evaluate.tasks import canonical, template_sha256

    settings = {
        "server": [arguments.model, arguments.url, str(arguments.tokenizer), arguments.context],
        "task": [
            suite.name,
            name,
            suite.tasks[name].model_dump(mode="json"),
            template_sha256(name),
            version("lm_eval"),
        ],
        "items": [entries, limit],
        "longest_answer": MAX_NEW_TOKENS,
    }
    key = hashlib.sha256(canonical(settings).encode()).hexdigest()
    return ANSWERED / f"{slug(arguments.model)}-{name}-{key[:16]}.json"


def slug(model: str) -> str:
    """A model's name as part of a file name."""
    return re.sub("[^A-Za-z0-9._-]+", "-", model)


def ask(
    arguments: argparse.Namespace, lm: Any, suite: Suite, name: str, entries: list[Any], limit: int | None
) -> dict[str, Any]:
    """What `harness.run_task` measures. Raises `ClusterError` when the server does not answer."""
    from gptoss.evaluate import harness

    try:
        return harness.run_task(
            lm, suite.name, name, suite.tasks[name], entries, paths.BENCHMARKS,
            limit=limit, max_new_tokens=MAX_NEW_TOKENS,
        )  # fmt: skip
    except OSError as error:  # aiohttp's and requests' errors are OSError
        raise ClusterError(
            f"{arguments.url}: {error}",
            "start the server, or correct --url; the same command goes on with the tasks that are missing",
        ) from error


def live(arguments: argparse.Namespace) -> Path:
    """Estimate, agree, ask, write. Returns the file of the result."""
    from gptoss.evaluate import result_rows

    suite, lm = load_suite(arguments.suite), language_model(arguments)
    tasks = plan(lm, suite, arguments.limit)
    limits = {name: arguments.limit if suite.limited and not suite.tasks[name].files else None for name in tasks}
    files = {name: answers_file(arguments, suite, name, entries, limits[name]) for name, entries in tasks.items()}
    missing = [name for name in tasks if not files[name].is_file()]
    for name in tasks:
        if name not in missing:
            print(f"{name}: answered before")
    if missing:
        agree([estimate(lm, suite, name, tasks[name], limits[name]) for name in missing], arguments)
    found = []
    for name, entries in tasks.items():
        if name in missing:
            write_json(files[name], ask(arguments, lm, suite, name, entries, limits[name]))
        measured = read_json(files[name])
        found.append(
            result_rows.row(suite, name, suite.tasks[name], measured, None, None) | {"samples": measured["samples"]}
        )
        print(f"{name}: {found[-1]['value']:.4f}", flush=True)
    path = paths.REPORTS / "live" / f"{slug(arguments.model)}.json"
    write_json(path, {"model": arguments.model, "url": arguments.url, "rows": found})
    for file in files.values():
        file.unlink(missing_ok=True)
    return path
