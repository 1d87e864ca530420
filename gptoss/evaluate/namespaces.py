"""Runs inside new namespaces: drop the host's file system, all privileges and most resources, then exec Python.

`gptoss/evaluate/sandbox.py` starts this file through `unshare` with the interpreter's `-I -S`, so it imports the
standard library only. The program to run is standard input of the exec'd interpreter: any failure here ends the process
before the program is read.

References: namespaces(7), capabilities(7), seccomp(2), mount(2), pivot_root(2).
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

RDONLY, NOSUID, NODEV, REMOUNT, BIND = 1, 2, 4, 32, 4096  # MS_* of linux/mount.h
DETACH = 2  # MNT_DETACH
DEATH_SIGNAL, CAPBSET_DROP, NO_NEW_PRIVS = 1, 24, 38  # PR_* of linux/prctl.h
RLIMIT_MSGQUEUE = 12  # POSIX message queues; Python has no name for it
SECCOMP, FILTER = 22, 2  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
NOBODY = 65534
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/etc/ld.so.cache")

LOAD, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_* of linux/bpf_common.h
NUMBER, ARCHITECTURE = 0, 4  # offsets in `struct seccomp_data`
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.ENOSYS
X32 = 0x40000000  # system call numbers from here on are those of the x32 table of x86-64
# Audit architecture and numbers of shmget, semget and msgget, by machine.
SYSTEM_V = {"x86_64": (0xC000003E, (29, 64, 68)), "aarch64": (0xC00000B7, (194, 190, 186))}

LIBC = ctypes.CDLL(None, use_errno=True)


def system_call(name: str, *arguments: object) -> None:
    """Call libc. Raises `OSError` that names the call."""
    encoded = [os.fsencode(value) if isinstance(value, str | Path) else value for value in arguments]
    if getattr(LIBC, name)(*encoded) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{tuple(map(str, arguments))}: {os.strerror(number)}")


def bind(source: Path, target: Path) -> None:
    """Mount a path of the host, read-only."""
    # Linux ignores all other flags of the call that creates a bind mount; a second call sets them.
    system_call("mount", source, target, None, BIND, None)
    system_call("mount", None, target, None, REMOUNT | BIND | RDONLY | NOSUID | (NODEV if source.is_dir() else 0), None)


def build_root(root: Path, python: Path) -> None:
    """Create a root file system in memory: the system's programs and libraries, this Python, a few devices, `/tmp`."""
    system_call("mount", "sandbox", root, "tmpfs", NOSUID, "size=64m,mode=755")
    for path in (*map(Path, SYSTEM), python):
        inside = root / path.relative_to("/")
        if inside.exists():
            continue  # inside a folder that is already mounted
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
    """Make `root` the root and unmount the old one."""
    # pivot_root, not chroot: a process can leave a chroot as long as the old root is mounted.
    (root / "old").mkdir()
    os.chdir(root)
    system_call("pivot_root", ".", "old")
    system_call("umount2", "/old", DETACH)
    Path("/old").rmdir()
    system_call("mount", None, "/", None, REMOUNT | RDONLY | NOSUID | NODEV, None)
    os.chdir("/tmp")


def drop_privileges(as_nobody: bool) -> None:
    """After the next exec the process has no capability and cannot regain one."""
    for capability in range(64):
        if LIBC.prctl(CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # past the last capability of this kernel
    system_call("prctl", NO_NEW_PRIVS, 1, 0, 0, 0)
    if as_nobody:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        # The kernel clears the death signal, which makes the process die with `unshare`, when the user changes.
        system_call("prctl", DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def set_limits(seconds: int, memory_bytes: int, file_bytes: int, processes: int) -> None:
    """Set hard limits for the program and every process that it starts."""
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
    """Refuse shared memory, semaphores and message queues of System V, and every call by the numbers of another
    architecture. Raises `OSError` on a machine whose numbers are not listed."""
    # Memory in them counts in no limit once a program detaches. Before Linux 6.9 only real root could set the limits
    # of an IPC namespace, hence a seccomp filter.
    if os.uname().machine not in SYSTEM_V:
        raise OSError(f"SYSTEM_V lists no system call numbers of {os.uname().machine}")
    architecture, refused = SYSTEM_V[os.uname().machine]
    # Each instruction is (code, jump if true, jump if false, operand); jumps count the instructions to skip.
    ahead = len(refused)
    filters = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_IF_EQUAL, 0, ahead + 3, architecture),
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_AT_LEAST, ahead + 1, 0, X32),
        *((JUMP_IF_EQUAL, ahead - position, 0, number) for position, number in enumerate(refused)),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in filters))
    program = ctypes.create_string_buffer(struct.pack("HP", len(filters), ctypes.addressof(code)))
    system_call("prctl", SECCOMP, FILTER, program, 0, 0)


def main() -> None:
    """Command line: mount point, Python's installation, interpreter, `root` or `user`, and the four limits."""
    root, python, interpreter, mode, *limits = sys.argv[1:]
    build_root(Path(root), Path(python))
    enter(Path(root))
    drop_privileges(as_nobody=mode == "root")
    set_limits(*map(int, limits))
    forbid_system_v()
    os.closerange(3, 65536)  # a descriptor of the host would be a way out
    # A fixed hash seed: sets iterate in the same order in every run, so that a score is reproducible.
    environment = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}
    # -s -S -P: the standard library only; -B: no bytecode files, the file system is read-only.
    os.execve(interpreter, [interpreter, "-P", "-s", "-S", "-B", "-"], environment)


if __name__ == "__main__":
    main()
