"""How kernels are compiled: to machine code that is cached beside the source and runs without the GIL.

In all kernels, `data` is the UTF-8 of a text, `data[start:end]` a part of it, and `at` a position in it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from gptoss.text.kernels.compiler import cache_by, source_stamp

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
UInt32s = npt.NDArray[np.uint32]

SOURCES = source_stamp(Path(__file__).parents[1])


def _cached(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    return lambda function: cache_by(SOURCES, njit(cache=True, nogil=True, **options)(function))


# `_nrt=False` compiles without Numba's reference counting. A function that allocates nothing needs none, because its
# caller owns the arrays; counting references took ten times as long as splitting a word.
kernel = _cached()
"""Compiles a function that may allocate."""
leaf = _cached(_nrt=False)
"""Compiles a function that allocates nothing."""
inlined = _cached(_nrt=False, forceinline=True)
"""Compiles a leaf that becomes part of its callers."""
