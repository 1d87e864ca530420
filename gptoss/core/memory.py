"""Memory of this process: peak, available, and the policy of malloc for freed memory."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

# The container's limit. cgroup v2 says "max" when there is none; v1 (older hosts and Docker releases) says a number
# near 2**63, which `min` below ignores.
CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
# Parameters of glibc's mallopt(3), from <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST_INT = 2**31 - 1


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes.

    `VmHWM` where the kernel provides it: Linux keeps `ru_maxrss` across exec, so the peak of a large parent would be
    counted as that of its child.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        status = ""
    found = status.partition("VmHWM:")[2].split()
    return 1024 * int(found[0] if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def available_memory() -> int:
    """Bytes that this process can still allocate: the minimum of the machine's free memory and what the container's
    limit and the process's own limits (`ulimit -v`, `ulimit -d`) leave."""
    import psutil

    used = psutil.Process().memory_info()
    left = [psutil.virtual_memory().available]
    left += [limit - used.rss for limit in map(_cgroup_limit, CGROUP_LIMITS) if limit is not None]
    for kind, size in ((resource.RLIMIT_AS, used.vms), (resource.RLIMIT_DATA, used.data)):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY:
            left.append(limit - size)
    return max(0, int(min(left)))


def _cgroup_limit(path: Path) -> int | None:
    """The limit in a file; None when the file is missing or says `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def keep_freed_memory() -> None:
    """Make glibc's malloc keep freed memory instead of returning it to the kernel. Without glibc: no effect.

    Every training step frees and allocates the same large tensors. By default malloc maps each block above 128 kB with
    mmap and unmaps it on free, so the kernel maps and zeroes all pages again in every step.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        # No block gets a mapping of its own: all come from the heap, where free can reuse them.
        libc.mallopt(M_MMAP_MAX, 0)
        # And the top of the heap is never trimmed. The parameter is a C int, so this is as high as it goes.
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST_INT)
