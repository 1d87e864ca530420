"""`gptoss`: every command is listed and helps without a heavy import; unknown names suggest the closest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gptoss import cli
from gptoss.cli.__main__ import COMMANDS, main
from tests.conftest import ROOT

HELP = """
import contextlib, io, sys
from gptoss.cli.__main__ import COMMANDS, main
for command in COMMANDS:
    printed = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(printed):
        main([command, "--help"])
    assert f"usage: gptoss {command}" in printed.getvalue(), command
    heavy = {"torch", "transformers", "mlflow", "prefect", "datasets", "lm_eval", "matplotlib"} & set(sys.modules)
    assert not heavy, (command, heavy)
"""


def test_every_command_helps_without_a_heavy_import() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_module_is_a_command() -> None:
    modules = {path.stem.replace("_", "-") for path in Path(cli.__path__[0]).glob("*.py") if path.stem[0] != "_"}
    assert modules == set(COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_without_a_name_all_commands_are_listed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in COMMANDS)


def test_an_unknown_name_suggests_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["linage"]) == 2
    assert "did you mean `gptoss lineage`?" in capsys.readouterr().err
    assert main(["zzz"]) == 2
    assert "`gptoss --help` lists all commands" in capsys.readouterr().err
