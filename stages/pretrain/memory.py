"""Memory that a step frees is kept for the next one."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt(3)`."""
LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> None:
    """Let glibc's malloc hold on to freed memory instead of giving it back to the kernel.

    Every step frees and allocates the same large tensors; each time, the kernel would map and zero their pages anew.
    Without glibc nothing happens.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST_INT)
