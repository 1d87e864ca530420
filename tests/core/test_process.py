"""Exit codes of known errors, and the end of a process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gptoss.core.errors import ClusterError, DataError, UserError
from gptoss.core.process import exit_code_of
from tests.conftest import ROOT


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
    ("call", "code", "message"),
    [
        ("print('done')", 0, ""),
        ("fail()", 3, "error: a\n  fix: b\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
    ],
)
def test_a_process_exits_with_its_code_and_all_output_after_its_exit_handlers(
    call: str, code: int, message: str
) -> None:
    program = (
        "import atexit; from gptoss.core.process import run_and_exit; from gptoss.core.errors import DataError\n"
        "def fail(): raise DataError('a', 'b')\n"
        "def call():\n"
        "    atexit.register(print, 'goodbye')\n"
        f"    {call}\n"
        "run_and_exit(call)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code
    assert done.stderr.endswith(message)
    assert done.stdout == ("done\n" if code == 0 else "") + "goodbye\n"
