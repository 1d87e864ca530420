"""The command `gptoss NAME …` (also `python -m gptoss.cli NAME …`): finds the module of a command and runs it.

Only the chosen module is imported, and none imports torch, Prefect or MLflow before `execute`, so `--help` answers at
once. A new command is a module of this package with `add_arguments(parser)` and `execute(options)`, and one line below.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from gptoss.core.errors import UserError
from gptoss.core.process import exit_code_of

# Listed here and not collected from the modules: a list that imports nothing is printed at once. In the order in which
# a newcomer meets them.
COMMANDS = {
    "run": "run every stage that is out of date, under Prefect",
    "plan": "print what a run would do: stages, raw files, estimated documents, tokens and time",
    "use": "choose a size: write params.yaml from a profile",
    "ui": "serve the Prefect and MLflow pages on loopback",
    "report": "render the report again from the collected facts",
    "chat": "talk to the Instruct model in the terminal",
    "serve": "serve a published model with an OpenAI-compatible API on loopback",
    "assistant": "build an assistant from a folder of documents",
    "baseline": "evaluate another model behind an OpenAI-compatible server",
    "lineage": "print the chain from a registry version back to the raw files",
    "verify": "recompute every hash of that chain and check the signature",
    "promote": "move the alias `champion`, or print its history",
    "push": "upload a published folder to the Hugging Face hub",
    "export": "write the weights of a checkpoint as a Hugging Face model",
    "simulate": "measure the memory that the ranks of a large mesh need",
    "slurm-options": "print the options of the chosen cluster for sbatch and salloc",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Without a name, or with `--help`, it lists the commands."""
    # `None` as the console script calls it; a list in tests and in other modules.
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return 0

    # Parsing is inside, so that an unknown command ends in one message and an exit code like any other known error.
    def call() -> None:
        command, options = parse(name, rest)
        command.execute(options)

    return exit_code_of(call)


def parse(name: str, arguments: Sequence[str]) -> tuple[ModuleType, argparse.Namespace]:
    """The module of a command and its parsed arguments.

    Errors: `UserError` for an unknown command, with the closest known name; argparse exits for wrong arguments.
    """
    if name not in COMMANDS:
        # A guess helps with a typing error; a name that resembles none gets only the list.
        closest = difflib.get_close_matches(name, COMMANDS, n=1)
        guess = f"did you mean `gptoss {closest[0]}`? " if closest else ""
        raise UserError(f"there is no command {name!r}", f"{guess}`gptoss --help` lists all commands")
    command = importlib.import_module(f"gptoss.cli.{name.replace('-', '_')}")
    # RawDescription: the docstrings of the modules are wrapped by hand and contain examples.
    parser = argparse.ArgumentParser(
        prog=f"gptoss {name}", description=command.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_arguments(parser)
    return command, parser.parse_args(arguments)


def usage() -> str:
    """All commands, one per line."""
    lines = (f"  {name:<15} {description}" for name, description in COMMANDS.items())
    return "usage: gptoss COMMAND [--help] …\n\ncommands:\n" + "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
