"""Inside fresh namespaces: give up the host, all rights and most resources, then become a Python interpreter.

`gptoss/evaluate/sandbox.py` starts this file through `unshare`, with the interpreter's own `-I -S`, so it imports
the standard library only. Any failure ends it before the program is read.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import struct
import sys
from pathlib import Path

RDONLY, NOSUID, NODEV, REMOUNT, BIND = 1, 2, 4, 32, 4096
DETACH = 2
DEATH_SIGNAL, CAPBSET_DROP, NO_NEW_PRIVS = 1, 24, 38
RLIMIT_MSGQUEUE = 12  # POSIX message queues; Python has no name for it
SECCOMP, FILTER = 22, 2
NOBODY = 65534
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/etc/ld.so.cache")

LOAD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of linux/bpf_common.h
NUMBER, ARCHITECTURE = 0, 4  # where `struct seccomp_data` has them
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.ENOSYS
X32 = 0x40000000  # numbers from here on are those of a second table of x86-64
SYSTEM_V = {"x86_64": (0xC000003E, (29, 64, 68)), "aarch64": (0xC00000B7, (194, 190, 186))}
"""By machine: its audit architecture, and its numbers of shmget, semget and msgget."""

LIBC = ctypes.CDLL(None, use_errno=True)


def system_call(name: str, *arguments: object) -> None:
    """Call libc; a failure is an `OSError` that names the call."""
    encoded = [os.fsencode(value) if isinstance(value, str | Path) else value for value in arguments]
    if getattr(LIBC, name)(*encoded) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{tuple(map(str, arguments))}: {os.strerror(number)}")


def bind(source: Path, target: Path) -> None:
    """Show a path of the host, read-only."""
    system_call("mount", source, target, None, BIND, None)
    system_call("mount", None, target, None, REMOUNT | BIND | RDONLY | NOSUID | (NODEV if source.is_dir() else 0), None)


def build_root(root: Path, python: Path) -> None:
    """A root file system in memory: the system's programs and libraries, this Python, a few devices, `/tmp`."""
    system_call("mount", "sandbox", root, "tmpfs", NOSUID, "size=64m,mode=755")
    for path in (*map(Path, SYSTEM), python):
        inside = root / path.relative_to("/")
        if inside.exists():
            continue  # below one that is already there
        if path.is_symlink():
            inside.symlink_to(path.readlink())
        elif path.is_dir():
            inside.mkdir(parents=True)
            bind(path, inside)
    for path in map(Path, DEVICES):
        inside = root / path.relative_to("/")
        inside.parent.mkdir(exist_ok=True)
        if path.exists():
            inside.touch()
            bind(path, inside)
    (root / "tmp").mkdir()
    system_call("mount", "scratch", root / "tmp", "tmpfs", NOSUID | NODEV, "size=16m,mode=1777")


def enter(root: Path) -> None:
    """Make `root` the root and forget the old one."""
    (root / "old").mkdir()
    os.chdir(root)
    system_call("pivot_root", ".", "old")
    system_call("umount2", "/old", DETACH)
    Path("/old").rmdir()
    system_call("mount", None, "/", None, REMOUNT | RDONLY | NOSUID | NODEV, None)
    os.chdir("/tmp")


def give_up_rights(as_nobody: bool) -> None:
    """No capability survives the next exec, and nothing can give one back."""
    for capability in range(64):
        if LIBC.prctl(CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # past the last one the kernel knows
    system_call("prctl", NO_NEW_PRIVS, 1, 0, 0, 0)
    if as_nobody:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        system_call("prctl", DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)  # with unshare; another user clears that wish


def limit(seconds: int, memory_bytes: int, file_bytes: int, processes: int) -> None:
    """Hard limits for the program and all it starts."""
    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NPROC: processes,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        RLIMIT_MSGQUEUE: 0,
    }
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))


def forbid_system_v() -> None:
    """Refuse shared memory, semaphores and message queues of System V, and every call by another machine's numbers:
    what is left in them when a program detaches counts in no limit. (The kernel's own limits of an IPC namespace can be
    set by real root only, before Linux 6.9.)"""
    if os.uname().machine not in SYSTEM_V:
        raise OSError(f"the numbers of {os.uname().machine}'s system calls are not known here")
    architecture, refused = SYSTEM_V[os.uname().machine]
    ahead = len(refused)  # instructions between the first comparison by number and the last
    filters = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_IF_EQUAL, 0, ahead + 3, architecture),
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_AT_LEAST, ahead + 1, 0, X32),
        *((JUMP_IF_EQUAL, ahead - place, 0, number) for place, number in enumerate(refused)),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in filters))
    program = ctypes.create_string_buffer(struct.pack("HP", len(filters), ctypes.addressof(code)))
    system_call("prctl", SECCOMP, FILTER, program, 0, 0)


def main() -> None:
    """Arguments: mount point, Python's installation, interpreter, `root` or `user`, and the four limits."""
    root, python, interpreter, mode, *limits = sys.argv[1:]
    build_root(Path(root), Path(python))
    enter(Path(root))
    give_up_rights(as_nobody=mode == "root")
    limit(*map(int, limits))
    forbid_system_v()
    os.closerange(3, 65536)
    # Standard library only, no bytecode files; sets iterate alike in every run. The program is standard input.
    environment = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}
    os.execve(interpreter, [interpreter, "-P", "-s", "-S", "-B", "-"], environment)


if __name__ == "__main__":
    main()
