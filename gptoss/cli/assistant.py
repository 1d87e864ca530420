"""An on-premises assistant from a company's own documents: `python -m flows.assistant FOLDER [--name NAME] [--serve]`.

Reads the Markdown, HTML and CSV documents of a folder, teaches them to a published model that can chat (the Instruct
model of params.yaml, or `--base`), and asks the result and its base the same held-out questions. Nothing leaves the
machine. Leaves `assistants/NAME`: a float16 model that `AutoModelForCausalLM.from_pretrained` loads, the adapter
alone, `evaluation.json` with every answer, and checksums. The same command continues after a kill; `--serve` then
serves the model through an OpenAI-compatible API.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptoss.core.errors import UserError
from gptoss.core.process import exit_code_of

ASSISTANTS = Path("assistants")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, evaluate and, if asked, serve; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.assistant", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("documents", type=Path, metavar="FOLDER", help="Markdown, HTML and CSV documents")
    parser.add_argument("--name", help="of the assistant; default: the folder's name")
    parser.add_argument("--base", type=Path, help="a published model that can chat; default: the Instruct model")
    parser.add_argument("--epochs", type=int, help="default: instruct.epochs")
    parser.add_argument("--serve", action="store_true", help="serve the assistant afterwards, until Ctrl-C")
    options = parser.parse_args(arguments)
    return exit_code_of(lambda: run(options.documents, options.name, options.base, options.epochs, options.serve))


def run(documents: Path, name: str | None, base: Path | None, epochs: int | None, serve: bool) -> None:
    """The whole flow. Raises `PipelineError`."""
    from gptoss.config.settings import load_settings
    from gptoss.core import paths
    from gptoss.pipeline import prefect_environment

    settings = load_settings()
    prefect_environment.prepare()
    base = base or paths.published(settings.name, "instruct")
    if not (base / "config.json").exists():
        raise UserError(f"there is no model in {base}", "run `make run` first, or name a published folder with --base")
    target = ASSISTANTS / (name or documents.resolve().name)
    from flows.assistant_flow import build_assistant

    build: Any = build_assistant.with_options(flow_run_name=f"assistant {target.name}")
    show(target, build(documents, base, target, settings, epochs))
    if serve:
        from gptoss.cli import serve as server

        server.serve(target, server.PORT)


def show(target: Path, evaluation: dict[str, Any]) -> None:
    """The two evaluations side by side, and what to do next."""
    asked = evaluation["assistant"]["questions"]
    print(f"\n  {asked} held-out questions      base   assistant   chance")
    for label, key in (("right answer of four", "choice"), ("ROUGE-L of the answer", "rouge_l")):
        chance = f"{evaluation['base']['chance']:8.1%}" if key == "choice" else ""
        print(f"  {label:<23} {evaluation['base'][key]:7.1%} {evaluation['assistant'][key]:11.1%} {chance}")
    print(f"\n  model    {target}\n  answers  {target / 'evaluation.json'}")
    print(
        f"  talk     python -m gptoss.cli.chat --model {target}\n  serve    python -m gptoss.cli.serve --model {target}"
    )


if __name__ == "__main__":
    sys.exit(main())
