"""Programs run isolated from the host."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gptoss.evaluate import sandbox
from tests.conftest import ROOT

REASON = sandbox.unavailable()
needs_sandbox = pytest.mark.skipif(REASON is not None, reason=f"no sandbox on this machine: {REASON}")


@needs_sandbox
def test_a_program_that_reaches_its_end_passes() -> None:
    assert sandbox.run_python("import math\nassert math.comb(5, 2) == 10") == sandbox.Outcome(True, "passed")


@needs_sandbox
@pytest.mark.parametrize(
    ("program", "detail"),
    [
        ("assert 1 == 2, 'no'", "AssertionError: no"),
        ("def (", "SyntaxError"),
        ("import sys; sys.exit(0)", "ended early"),
        ("import os; os._exit(0)", "ended early"),
        ("x = bytearray(2**31)", "MemoryError"),
    ],
)
def test_a_program_that_does_not_fails(program: str, detail: str) -> None:
    outcome = sandbox.run_python(program)
    assert not outcome.passed and detail in outcome.detail


DECLARATIONS = {
    "its own constants": "sys._getframe().f_code.co_consts",
    "its memory": "re.findall('[0-9a-f]{32}', str(ctypes.string_at(id(sys._getframe().f_code.co_consts[-1]), 99)))",
    "the frame of an exception": "frame_of_an_exception().f_code.co_consts",
}


@needs_sandbox
@pytest.mark.parametrize("where", list(DECLARATIONS))
def test_a_program_cannot_print_the_end_it_did_not_reach(where: str) -> None:
    program = f"""
import ctypes, os, re, sys

def frame_of_an_exception():
    try:
        assert False
    except AssertionError as error:
        return error.__traceback__.tb_frame.f_back

for found in {DECLARATIONS[where]}:
    if isinstance(found, str) and re.fullmatch("[0-9a-f]{{32}}", found):
        print(end=found, flush=True)
        os._exit(0)
assert os.getcwd() is None
"""
    assert not sandbox.run_python(program).passed


@needs_sandbox
@pytest.mark.parametrize("program", ["while True: pass", "import time; time.sleep(60)"])
def test_time_runs_out(program: str) -> None:
    assert sandbox.run_python(program, seconds=1.0) == sandbox.Outcome(False, "timed out")


@needs_sandbox
def test_no_child_outlives_its_program() -> None:
    import psutil

    marker = "outlives-7d1c"
    program = f"""
import os, sys
if os.fork() == 0:
    os.execv(sys.executable, [sys.executable, "-c", "while True: pass  # {marker}"])
"""
    assert sandbox.run_python(program).passed
    assert not [p for p in psutil.process_iter(["cmdline"]) if marker in " ".join(p.info["cmdline"] or [])]


@needs_sandbox
@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("import socket; socket.create_connection(('1.1.1.1', 53), 2)", "Network is unreachable"),
        ("open('/usr/escaped', 'w')", "Read-only file system"),
        ("open('/escaped', 'w')", "Read-only file system"),
        ("open('/etc/passwd')", "No such file"),
        (f"open({str(Path(__file__))!r})", "No such file"),
        ("import os; os.listdir('/proc')", "No such file"),
        ("import os\nfor _ in range(100): os.fork() or __import__('time').sleep(9)", "temporarily unavailable"),
        ("open('/tmp/large', 'wb').write(bytes(2**22))", "File too large"),
        ("import os; os.setuid(0); os.mkdir('/dev/x')", "not permitted|Read-only"),
    ],
)
def test_the_host_is_out_of_reach(program: str, error: str) -> None:
    import re

    outcome = sandbox.run_python(program)
    assert not outcome.passed and re.search(error, outcome.detail), outcome


KERNEL_MEMORY = {
    "shared memory": "LIBC.shmget(0, 4096, 0o1600)",
    "message queue": "LIBC.msgget(0, 0o1600)",
    "semaphores": "LIBC.semget(0, 1, 0o1600)",
    "POSIX message queue": "ctypes.CDLL('librt.so.1').mq_open(b'/queue', 0o102, 0o600, None)",
    "POSIX shared memory": "ctypes.CDLL('librt.so.1').shm_open(b'/memory', 0o102, 0o600)",
    "shared memory by x32's numbers": "LIBC.syscall(0x40000000 + 29, 0, 4096, 0o1600)",
    "large anonymous file": "LIBC.ftruncate(LIBC.memfd_create(b'memory', 0), ctypes.c_long(2**21))",
}


@needs_sandbox
@pytest.mark.parametrize("mode", ["root", "user"])
@pytest.mark.parametrize("kind", list(KERNEL_MEMORY))
def test_no_memory_outside_the_limits(kind: str, mode: str) -> None:
    if mode == "root" and os.geteuid() != 0:
        pytest.skip("only root makes namespaces without a user namespace")
    program = f"""
import ctypes, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
LIBC = ctypes.CDLL(None)
assert {KERNEL_MEMORY[kind]} == -1
"""
    outcome = sandbox._run_isolated(mode, program, 5.0, 2**29)
    if "Operation not permitted" in outcome.detail:
        pytest.skip(f"this machine does not allow it: {outcome.detail}")
    assert outcome.passed, outcome


BOMBS = {
    "processes": """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
""",
    "memory in children": """
import os
held = []
while True:
    try:
        os.fork()
        held.append(bytearray(2**24))
    except (OSError, MemoryError):
        pass
""",
    "files": """
number = 0
while True:
    try:
        open(f"/tmp/{number}", "wb").write(bytes(2**19))
    except OSError:
        pass
    number += 1
""",
    "output": "while True: print('x' * 2**16)",
}


@needs_sandbox
@pytest.mark.parametrize("kind", list(BOMBS))
def test_a_bomb_ends_with_its_program(kind: str) -> None:
    import psutil

    free = psutil.virtual_memory().available
    outcome = sandbox.run_python(BOMBS[kind], seconds=2.0, memory_bytes=2**27)
    assert not outcome.passed
    assert sandbox.run_python("pass").passed, "the next program runs as if nothing had been"
    assert psutil.virtual_memory().available > free - sandbox.PROCESSES * 2**27


@needs_sandbox
def test_a_program_cannot_kill_other_processes() -> None:
    """Its parent, its group, everything it can name: the harness and another program continue."""
    from concurrent.futures import ThreadPoolExecutor

    killer = """
import os, signal
assert os.getppid() == 0, "its parent is outside and has no number here"
for target in (os.getppid(), 1, 2, -1, 0):
    try:
        os.kill(target, signal.SIGKILL)
    except OSError:
        pass
"""
    with ThreadPoolExecutor(2) as pool:
        beside = pool.submit(sandbox.run_python, "import time; time.sleep(1.5)")
        assert sandbox.run_python(killer).detail in ("passed", "ended early")
        assert beside.result().passed


@pytest.mark.skipif(REASON is not None or os.geteuid() != 0, reason="needs a sandbox made by root")
def test_a_program_dies_with_its_harness() -> None:
    import psutil

    harness = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from gptoss.evaluate.sandbox import run_python; run_python('while True: pass', seconds=60)",
        ],
        cwd=ROOT,
    )
    started: set[psutil.Process] = set()

    def busy(process: psutil.Process) -> bool:
        try:
            return "setpriv" not in process.name() and process.cpu_times().user > 0.3
        except psutil.NoSuchProcess:  # the trial that checks for a sandbox has ended
            return False

    while not any(busy(process) for process in started):
        assert harness.poll() is None
        time.sleep(0.1)
        started = set(psutil.Process(harness.pid).children(recursive=True))
    harness.kill()
    harness.wait()
    _, alive = psutil.wait_procs(started, timeout=20)
    assert not alive


@needs_sandbox
def test_a_program_gets_no_environment_and_no_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "secret")
    assert sandbox.run_python("import os; assert set(os.environ) == {'LC_ALL', 'PYTHONHASHSEED'}").passed
    mount = "import ctypes; assert ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None) == -1"
    assert sandbox.run_python(mount).passed


@needs_sandbox
@pytest.mark.parametrize("mode", ["root", "user"])
def test_both_isolation_modes_protect_the_host(mode: str) -> None:
    import os

    if mode == "root" and os.geteuid() != 0:
        pytest.skip("only root makes namespaces without a user namespace")
    outcome = sandbox._run_isolated(mode, "open('/usr/escaped', 'w')", 5.0, 2**30)
    if "Operation not permitted" in outcome.detail:
        pytest.skip(f"this machine does not allow it: {outcome.detail}")
    assert "Read-only file system" in outcome.detail
