"""How kernels are compiled: to machine code that is cached beside the source and runs without the GIL.

In all kernels, `data` is the UTF-8 of a text, `data[start:end]` a part of it, and `at` a position in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
UInt32s = npt.NDArray[np.uint32]

# Numba's cache "fails to recognize changes in symbols defined in a different file" (its documentation, Notes on
# Caching): it compares the file of the compiled function alone, and would run outdated code of functions inlined from
# other files. The hash of all files of this package replaces its stamp.
_FILES = sorted(Path(__file__).parents[1].rglob("*.py"))
SOURCES = hashlib.sha256(b"\0".join(path.read_bytes() for path in _FILES)).hexdigest()


def _cached(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    def compile_and_cache(function: Callable[..., Any]) -> Any:
        dispatcher = njit(cache=True, nogil=True, **options)(function)
        dispatcher._cache._cache_file._source_stamp = SOURCES
        return dispatcher

    return compile_and_cache


# `_nrt=False` compiles without Numba's reference counting. A function that allocates nothing needs none, because its
# caller owns the arrays; counting references took ten times as long as splitting a word.
kernel = _cached()
"""Compiles a function that may allocate."""
leaf = _cached(_nrt=False)
"""Compiles a function that allocates nothing."""
inlined = _cached(_nrt=False, forceinline=True)
"""Compiles a leaf that becomes part of its callers."""
