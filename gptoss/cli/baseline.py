"""Evaluate another model, behind an OpenAI-compatible completions server, on the same suites.

    gptoss baseline MODEL --url http://HOST/v1/completions --input-price 0 --output-price 0 [--suite gpt4] [--limit 20]

Reads the frozen items in `data/benchmarks`, and `OPENAI_API_KEY` where the server wants one. Writes
`reports/live/MODEL.json`, with rows as in `scores.json`. Before anything is sent, the number of requests and tokens and
the highest possible cost are printed and confirmed by a person (`--yes` for a script). After a failure the same command
asks only the tasks that are missing.

With `--tokenizer FOLDER` (the server's own tokenizer) all tasks are asked, multiple choice by the log-probabilities of
echoed prompts; without it only tasks with written answers, and tokens are estimated as a quarter of the bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gptoss.config.evaluate import suite_names
from gptoss.core.process import set_quiet_env


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="the name of the model on the server")
    parser.add_argument("--url", required=True, help="the completions endpoint")
    parser.add_argument("--suite", default="gpt4", choices=suite_names() or None)
    # A small default: every item costs money on a hosted model.
    parser.add_argument("--limit", type=int, default=20, help="items per task, evenly spread")
    parser.add_argument("--tokenizer", type=Path, help="folder with the server's tokenizer")
    parser.add_argument("--context", type=int, default=4096, help="context length of the model, in tokens")
    # One at a time by default, as many servers limit the rate.
    parser.add_argument("--concurrent", type=int, default=1, help="requests at a time")
    # Required, although 0 would be a possible default: the cost that a person confirms must never be a guess.
    parser.add_argument("--input-price", type=float, required=True, help="dollars per million tokens; 0 for your own")
    parser.add_argument("--output-price", type=float, required=True, help="dollars per million tokens; 0 for your own")
    parser.add_argument("--yes", action="store_true", help="do not ask before sending")


def execute(options: argparse.Namespace) -> None:
    """Estimate the cost, ask for consent, evaluate, print the path of the result."""
    set_quiet_env()

    from gptoss.evaluate.openai_baseline import ServerOptions, evaluate_server

    print(evaluate_server(ServerOptions(**vars(options))))
