"""How the kernels are compiled: to machine code that is kept beside the source and runs without Python's lock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

_FILES = sorted(Path(__file__).parents[1].rglob("*.py"))
SOURCES = hashlib.sha256(b"\0".join(path.read_bytes() for path in _FILES)).hexdigest()
"""Kept machine code is used only with the sources it was made of. Numba by itself looks at the file of the function
alone, and would run old code of functions that it calls in other files."""


def _kept(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    def compile_and_keep(function: Callable[..., Any]) -> Any:
        dispatcher = njit(cache=True, nogil=True, **options)(function)
        dispatcher._cache._cache_file._source_stamp = SOURCES
        return dispatcher

    return compile_and_keep


kernel = _kept()
"""A function that may allocate."""
leaf = _kept(_nrt=False)
"""A function that allocates nothing and counts no references to its arrays, which its caller owns: counting cost ten
times what splitting a word does."""
inlined = _kept(_nrt=False, forceinline=True)
"""A leaf that becomes part of its callers."""
