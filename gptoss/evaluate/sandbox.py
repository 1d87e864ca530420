"""Run a Python program that a language model wrote, isolated from the host; or refuse to run it at all.

Isolation by Linux namespaces (`unshare` of util-linux creates them, `namespaces.py` sets them up): no network, its own
process tree, a root file system in memory that holds only the system's programs and libraries and the Python
installation, all read-only, and a small `/tmp`. The program has no capabilities (started by root it becomes `nobody`),
no environment, no `/proc`, no System V memory or queues, and limits on time, memory, file size and processes. When it
ends or its time is up, its whole process tree is killed.

This protects against mistakes and ordinary malice of generated code, not against an exploit of the kernel.

Only the program's own process, tests and tested code together, can report that it reached its end. Code that knows how
it is judged can therefore pass without being right: it can find the end mark in its own memory, or replace what its
tests compare with. The first is detected unless the code also anticipates the check of `run_python`; the second is not.
A pass is evidence for code that was written to solve its task, not for code written to defeat this harness.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Solutions of the tasks take milliseconds; the limit also has to allow for starting Python on a busy machine.
SECONDS = 5.0
# Address space of one process.
MEMORY_BYTES = 2**29
FILE_BYTES = 2**20
# Processes of all concurrent programs together if they run as `nobody` (started by root), of one program otherwise.
# With `MEMORY_BYTES` it bounds what a fork and memory bomb can take: 8 GiB.
PROCESSES = 16
MAX_CONCURRENT = 8
FAILING_LINE = "1 / 0"
# Not a `raise`: Python does not compile the code after one, so the end mark would not be in memory to be found.
TIMED_OUT = "timed out"
ENDED_EARLY = "ended early"
SETUP_SCRIPT = Path(__file__).with_name("namespaces.py")


class SandboxUnavailable(Exception):  # noqa: N818 (not an error: the reason why a task is not run)
    """This machine has no working sandbox."""


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    passed: bool
    detail: str
    """`passed`, `timed out`, `ended early`, or the last line of its error."""


def run_python(program: str, *, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES) -> Outcome:
    """Run `program` with the standard library only. It passes if it reaches its end without an error; exiting early,
    even with status 0, does not count. Raises `SandboxUnavailable`; never runs anything outside a sandbox."""
    if reason := unavailable():
        raise SandboxUnavailable(reason)
    outcome = _run_isolated(_mode(), program, seconds, memory_bytes)
    # Once more with an end that cannot be reached: a program that passes again printed the end mark itself.
    if outcome.passed and _run_isolated(_mode(), f"{program}\n{FAILING_LINE}", seconds, memory_bytes).passed:
        return Outcome(False, ENDED_EARLY)
    return outcome


@cache
def unavailable() -> str | None:
    """Why this machine has no sandbox; None if it has one, which is found out by running a program in it."""
    if sys.platform != "linux":
        return f"the sandbox needs Linux, this is {sys.platform}"
    for program in ("unshare", "setpriv"):
        if shutil.which(program) is None:
            return f"the sandbox needs `{program}` (package util-linux)"
    try:
        _mode()
    except SandboxUnavailable as error:
        return str(error)
    return None


@cache
def _mode() -> str:
    """The first mode that works here: `root` (namespaces created by root, the program runs as nobody) or `user` (inside
    a user namespace). Raises `SandboxUnavailable`."""
    reasons = []
    for mode in ("root", "user") if os.geteuid() == 0 else ("user",):
        outcome = _run_isolated(mode, "pass", SECONDS * 2, MEMORY_BYTES)
        if outcome.passed:
            return mode
        reasons.append(outcome.detail)
    raise SandboxUnavailable(f"namespaces are not allowed on this machine: {'; '.join(reasons)}")


def _run_isolated(mode: str, program: str, seconds: float, memory_bytes: int) -> Outcome:
    # A random mark, printed last: the exit status would also be 0 for a program that leaves early.
    end_mark = secrets.token_hex(16)
    source = f"{program}\nprint(end={end_mark!r}, flush=True)\n"
    with tempfile.TemporaryDirectory(prefix="gpt-oss-sandbox-") as folder, tempfile.TemporaryFile() as output:
        try:
            subprocess.run(
                _command(mode, Path(folder), seconds, memory_bytes),
                input=source.encode("utf-8", "surrogatepass"),
                stdout=output,  # a file, whose size is limited; a pipe would fill this process with what is printed
                stderr=subprocess.STDOUT,
                timeout=seconds,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome(False, TIMED_OUT)
        output.seek(0)
        printed = output.read(FILE_BYTES + 1).decode("utf-8", "replace")
    if printed.endswith(end_mark):
        return Outcome(True, "passed")
    lines = printed.strip().splitlines()
    return Outcome(False, lines[-1][:200] if lines else ENDED_EARLY)


def _command(mode: str, root: Path, seconds: float, memory_bytes: int) -> list[str]:
    namespaces = ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"]
    if mode == "user":
        namespaces = ["--user", "--map-root-user", *namespaces]
    # The base installation: a virtual environment is outside of what the sandbox mounts.
    interpreter = str(Path(sys._base_executable).resolve())  # type: ignore[attr-defined]
    limits = [str(int(seconds) + 1), str(memory_bytes), str(FILE_BYTES), str(PROCESSES)]
    setup = [interpreter, "-I", "-S", "-B", str(SETUP_SCRIPT), str(root), sys.base_prefix, interpreter, mode, *limits]
    # Killed together with this process, if the kernel allows it: entering a user namespace clears the death signal.
    return ["setpriv", "--pdeathsig", "KILL", "unshare", *namespaces, "--", *setup]
