"""How the kernels are compiled: to machine code kept beside the source, run without Python's lock."""

from __future__ import annotations

from numba import njit

kernel = njit(cache=True, nogil=True)
"""A function that may allocate."""
leaf = njit(cache=True, nogil=True, _nrt=False)
"""A function that allocates nothing and counts no references to its arrays, which its caller owns: counting cost ten
times what splitting a word does."""
inlined = njit(cache=True, nogil=True, _nrt=False, forceinline=True)
"""A leaf that becomes part of its callers."""
