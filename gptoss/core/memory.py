"""Memory of this process: its peak, what it may still take, and keeping what it freed."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

CONTROL_GROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Of the container, in the second and the first version of control groups."""
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt(3)`."""
LARGEST_INT = 2**31 - 1


def peak_memory() -> int:
    """Bytes: the most this process had resident. Where the kernel tells (`VmHWM`), without what the process that
    started it had: Linux counts that in `ru_maxrss`."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        status = ""
    found = status.partition("VmHWM:")[2].split()
    return 1024 * int(found[0] if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def available_memory() -> int:
    """Bytes: the least of what the machine has free, and what the container's limit and the process's own limits
    (`ulimit -v`, `ulimit -d`) leave."""
    import psutil

    used = psutil.Process().memory_info()
    left = [psutil.virtual_memory().available]
    left += [limit - used.rss for limit in map(_control_group_limit, CONTROL_GROUP_LIMITS) if limit is not None]
    for kind, taken in ((resource.RLIMIT_AS, used.vms), (resource.RLIMIT_DATA, used.data)):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY:
            left.append(limit - taken)
    return max(0, int(min(left)))


def _control_group_limit(path: Path) -> int | None:
    """The limit in a file; None without the file, or when it says `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def keep_freed_memory() -> None:
    """Let glibc's malloc hold on to freed memory instead of giving it back to the kernel.

    Every step frees and allocates the same large tensors; each time, the kernel would map and zero their pages anew.
    Without glibc nothing happens.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST_INT)
