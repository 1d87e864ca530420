"""How kernels are compiled: ahead of their first call, for fixed types, without the GIL, cached on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from gptoss.text import mixing

Kernel = Callable[..., Any]

# Inputs are declared read-only: Numba accepts writable arrays for them as well, so that views of Arrow buffers (which
# are read-only) and NumPy's own arrays share one compiled version.
BYTES = "Array(uint8, 1, 'C', readonly=True)"
INTEGERS = "Array(int64, 1, 'C', readonly=True)"
HASHES = "Array(uint64, 1, 'C', readonly=True)"
UINT32 = "Array(uint32, 1, 'C', readonly=True)"
CODE_POINTS = "Array(int32, 1, 'C', readonly=True)"
UNALIGNED = "Array(uint64, 1, 'A', readonly=True, aligned=False)"
UNALIGNED_OUT = "Array(uint64, 1, 'A', aligned=False)"


def kernel(signature: str) -> Callable[[Kernel], Kernel]:
    """Compile for these types only. The cache lies in `__pycache__` and depends on the file of the kernel."""
    compiled: Callable[[Kernel], Kernel] = njit(signature, cache=True, nogil=True)
    return compiled


def inline(function: Kernel) -> Kernel:
    """For functions that kernels call in inner loops."""
    compiled: Kernel = njit(function, inline="always")
    return compiled


mix = inline(mixing.mix)
