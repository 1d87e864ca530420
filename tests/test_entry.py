"""The command lines: help at once, known errors as one message, unknown keys named."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gptoss.core.errors import ClusterError, DataError, UserError
from gptoss.core.process import exit_code_of
from gptoss.pipeline.stage_graph import load_graph
from gptoss.tracking.runner import flatten
from tests.conftest import ROOT

HELP = """
import contextlib, io, runpy, sys
for module in sys.argv[1:]:
    sys.argv = [module, "--help"]
    said = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(said):
        runpy.run_module(module, run_name="__main__")
    assert "usage: python -m" in said.getvalue(), module
    heavy = {"torch", "transformers", "mlflow", "prefect", "datasets", "lm_eval", "matplotlib"} & set(sys.modules)
    assert not heavy, (module, heavy)
"""


def test_every_command_helps_without_a_heavy_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    stages = sorted({node.command.split()[2] for node in load_graph()})
    others = [f"flows.{path.stem}" for path in (ROOT / "flows").glob("*.py") if "__main__" in path.read_text()]
    others += ["flows.assistant", "gptoss.launch.slurm", "stages.pretrain.simulate", "gptoss.evaluate.openai_baseline"]
    done = subprocess.run([sys.executable, "-c", HELP, *stages, *others], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_key_that_is_no_source_names_those_there_are() -> None:
    done = subprocess.run([sys.executable, "-m", "stages.ingest", "nowhere"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: stages.ingest knows no 'nowhere'\n  fix: choose one of: gutenberg, wikipedia")


def test_each_kind_of_error_has_its_exit_code() -> None:
    def fail(error: BaseException) -> int:
        def call() -> None:
            raise error

        return exit_code_of(call)

    assert fail(UserError("a", "b")) == 2
    assert fail(DataError("a", "b")) == 3
    assert fail(ClusterError("a", "b")) == 4
    assert fail(PermissionError(13, "Permission denied", "/somewhere")) == 4
    assert fail(KeyboardInterrupt()) == 130


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        ("print('done')", 0, ""),
        ("fail()", 3, "error: a\n  fix: b\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
    ],
)
def test_a_process_leaves_with_its_code_and_all_it_said_after_its_exit_handlers(
    call: str, code: int, said: str
) -> None:
    program = (
        "import atexit; from gptoss.tracking.runner import leave_after; from gptoss.core.errors import DataError\n"
        "def fail(): raise DataError('a', 'b')\n"
        "def call():\n"
        "    atexit.register(print, 'goodbye')\n"
        f"    {call}\n"
        "leave_after(call)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code
    assert done.stderr.endswith(said)
    assert done.stdout == ("done\n" if code == 0 else "") + "goodbye\n"


def test_metrics_flatten_with_dots() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
