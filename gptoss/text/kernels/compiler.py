"""How kernels are compiled: ahead of their first call, for fixed types, without the GIL, cached on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
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


def source_stamp(package: Path) -> str:
    """Hash of all Python files below a folder, to stamp cached machine code with (`cache_by`)."""
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(package.rglob("*.py")))).hexdigest()


def cache_by(stamp: str, dispatcher: Any) -> Any:
    """Let the cache of a function, compiled with `cache=True` and without a signature, be valid for `stamp`.

    Numba's cache "fails to recognize changes in symbols defined in a different file" (its documentation, Notes on
    Caching): it compares the file of the compiled function alone, and would run outdated code of functions inlined from
    other files.
    """
    dispatcher._cache._cache_file._source_stamp = stamp
    return dispatcher


SOURCES = source_stamp(Path(__file__).parents[1])


def kernel(signature: str) -> Callable[[Kernel], Kernel]:
    """Compile for these types only. The cache lies in `__pycache__` and depends on all files of this package."""

    def compile_and_cache(function: Kernel) -> Kernel:
        compiled = cache_by(SOURCES, njit(cache=True, nogil=True)(function))
        compiled.compile(signature)
        compiled.disable_compile()
        return compiled  # type: ignore[no-any-return]

    return compile_and_cache


def inline(function: Kernel) -> Kernel:
    """Decorator for functions that kernels call in inner loops."""
    compiled: Kernel = njit(function, inline="always")
    return compiled


mix = inline(mixing.mix)
