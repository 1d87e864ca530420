"""Build an on-premises assistant from a folder of documents.

Reads the Markdown, HTML and CSV documents of a folder, trains a published chat model on them (the Instruct model of
params.yaml, or `--base`), and asks the result and its base the same held-out questions. Nothing leaves the machine.
Writes `assistants/NAME`: a float16 model that `AutoModelForCausalLM.from_pretrained` loads, the adapter alone,
`evaluation.json` with every answer, and checksums. After a kill the same command continues; `--serve` then serves the
model through an OpenAI-compatible API.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gptoss.cli import serve as server
from gptoss.core import paths
from gptoss.pipeline import prefect_environment

# Not under gpt-oss/, whose folders are outputs of DVC stages.
ASSISTANTS = Path("assistants")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("documents", type=Path, metavar="FOLDER", help="Markdown, HTML and CSV documents")
    parser.add_argument("--name", help="of the assistant; default: the folder's name")
    parser.add_argument("--base", type=Path, help="a published chat model; default: the Instruct model")
    parser.add_argument("--epochs", type=int, help="default: instruct.epochs")
    parser.add_argument("--serve", action="store_true", help="serve the assistant afterwards, until Ctrl-C")


def execute(options: argparse.Namespace) -> None:
    """Build, evaluate and, if asked, serve.

    Errors: `UserError` when the base is missing or cannot be trained.
    """
    from gptoss.config.settings import load_settings

    settings = load_settings()
    # Prefect reads its settings from the environment when it is imported, with the flow below.
    prefect_environment.prepare()
    base = options.base or paths.published(settings.name, "instruct")
    # Before the flow starts: without a model, starting Prefect would only delay the message.
    server.require_model(base, "run `make run` first, or name a published folder with --base")
    # `resolve`, so that `gptoss assistant .` has a name.
    target = ASSISTANTS / (options.name or options.documents.resolve().name)
    from flows.assistant import build_assistant

    build: Any = build_assistant.with_options(flow_run_name=f"assistant {target.name}")
    show(target, build(options.documents, base, target, settings, options.epochs))
    if options.serve:
        server.serve(target, server.PORT)


def show(target: Path, evaluation: dict[str, Any]) -> None:
    """Print the evaluations of the assistant and its base side by side, and the commands to use the assistant."""
    questions = evaluation["assistant"]["questions"]
    print(f"\n  {questions} held-out questions      base   assistant   chance")
    for label, key in (("right answer of four", "choice"), ("ROUGE-L of the answer", "rouge_l")):
        # Only a choice of four has a level of guessing; an overlap of words has none.
        chance = f"{evaluation['base']['chance']:8.1%}" if key == "choice" else ""
        print(f"  {label:<23} {evaluation['base'][key]:7.1%} {evaluation['assistant'][key]:11.1%} {chance}")
    print(f"\n  model    {target}\n  answers  {target / 'evaluation.json'}")
    print(f"  talk     gptoss chat --model {target}\n  serve    gptoss serve --model {target}")
