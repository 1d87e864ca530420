"""Run a Python program that a language model wrote, where it can reach nothing; or refuse to run it at all.

Linux namespaces (`unshare` of util-linux makes them, `confine.py` furnishes them): no network, its own process
tree, a root file system in memory that holds only the system's programs and libraries and the Python installation,
all read-only, and a small `/tmp`. The program has no capabilities (started by root it becomes `nobody`), no
environment, no `/proc`, no System V memory or queues, and limits on time, memory, file size and processes. When it
ends or its time is up, the whole process tree dies with it.

It holds against mistakes and ordinary malice of generated code, not against an exploit of the kernel.

That a program reached its end is known only from the program's own process, tests and tested code together. So code
that knows how it is judged can pass without being right: it can find the end mark in its own memory, or replace what
its tests compare with. The first is caught unless the code also looks for the check that `run_python` makes of it; the
second is not. A pass is evidence for code that was written to solve its task, not against code written to beat this
harness.
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

SECONDS = 5.0
MEMORY_BYTES = 2**29
"""Address space of one process."""
FILE_BYTES = 2**20
PROCESSES = 16
"""Processes of all programs that run at once as `nobody` (started by root), of one program otherwise; with
`MEMORY_BYTES` it bounds what a bomb of both kinds can take: 8 GiB."""
AT_ONCE = 8
"""Programs that may run at the same time."""
BEFORE_THE_END = "1 / 0"
"""Python compiles what stands after it, unlike after a `raise`: the end mark is there to be found."""
TIMED_OUT = "timed out"
ENDED_EARLY = "ended early"
CONFINE = Path(__file__).with_name("namespaces.py")


class SandboxUnavailable(Exception):  # noqa: N818 (a state of the machine, reported as the reason a row is not run)
    """This machine has no working sandbox."""


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    passed: bool
    detail: str
    """`passed`, `timed out`, `ended early`, or the last line of its error."""


def run_python(program: str, *, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES) -> Outcome:
    """Run `program` with the standard library only. It passes when it reaches its end without an error; leaving
    early, even with status 0, does not count. What passes is run once more with an end that cannot be reached: a
    program that passes again has declared itself passed. Raises `SandboxUnavailable`, never runs anything unconfined.
    """
    if reason := unavailable():
        raise SandboxUnavailable(reason)
    outcome = _confined(_mode(), program, seconds, memory_bytes)
    if outcome.passed and _confined(_mode(), f"{program}\n{BEFORE_THE_END}", seconds, memory_bytes).passed:
        return Outcome(False, ENDED_EARLY)
    return outcome


@cache
def unavailable() -> str | None:
    """Why programs cannot be confined here; None when they can, which is tried, not assumed."""
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
    """`root`: namespaces made by root, the program runs as nobody; `user`: inside a user namespace. The first that
    works here. Raises `SandboxUnavailable`."""
    reasons = []
    for mode in ("root", "user") if os.geteuid() == 0 else ("user",):
        outcome = _confined(mode, "pass", SECONDS * 2, MEMORY_BYTES)
        if outcome.passed:
            return mode
        reasons.append(outcome.detail)
    raise SandboxUnavailable(f"namespaces are not allowed on this machine: {'; '.join(reasons)}")


def _confined(mode: str, program: str, seconds: float, memory_bytes: int) -> Outcome:
    reached_end = secrets.token_hex(16)
    source = f"{program}\nprint(end={reached_end!r}, flush=True)\n"
    with tempfile.TemporaryDirectory(prefix="gpt-oss-sandbox-") as folder, tempfile.TemporaryFile() as output:
        try:
            subprocess.run(
                _command(mode, Path(folder), seconds, memory_bytes),
                input=source.encode("utf-8", "surrogatepass"),
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome(False, TIMED_OUT)
        output.seek(0)
        printed = output.read(FILE_BYTES + 1).decode("utf-8", "replace")
    if printed.endswith(reached_end):
        return Outcome(True, "passed")
    lines = printed.strip().splitlines()
    return Outcome(False, lines[-1][:200] if lines else ENDED_EARLY)


def _command(mode: str, root: Path, seconds: float, memory_bytes: int) -> list[str]:
    namespaces = ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"]
    if mode == "user":
        namespaces = ["--user", "--map-root-user", *namespaces]
    interpreter = str(Path(sys._base_executable).resolve())  # type: ignore[attr-defined]
    limits = [str(int(seconds) + 1), str(memory_bytes), str(FILE_BYTES), str(PROCESSES)]
    confine = [interpreter, "-I", "-S", "-B", str(CONFINE), str(root), sys.base_prefix, interpreter, mode, *limits]
    # Killed with its harness, where the kernel lets it: a user namespace of its own clears that wish.
    return ["setpriv", "--pdeathsig", "KILL", "unshare", *namespaces, "--", *confine]
