"""Sets of hashes as sorted runs of one array."""

from __future__ import annotations

import numpy as np

from gptoss.text.kernels.compiler import HASHES, INTEGERS, kernel


@kernel(f"int64(uint64[::1], {INTEGERS}, int64[::1])")
def keep_distinct(values, offsets, sizes):  # type: ignore[no-untyped-def]
    """Remove repeated values from sorted runs, in place. Returns the number of values that are left.

    for each sorted run values[offsets[i]:offsets[i + 1]]:
        move each value that differs from the one before it to the front of `values`
        sizes[i] = number of values moved
    """
    written = 0
    for run in range(len(offsets) - 1):
        begin = written
        for place in range(offsets[run], offsets[run + 1]):
            if place == offsets[run] or values[place] != values[place - 1]:
                values[written] = values[place]
                written += 1
        sizes[run] = written - begin
    return written


@kernel(f"void({HASHES}, {INTEGERS}, Array(int64, 2, 'C', readonly=True), int64[::1])")
def intersection_sizes(hashes, offsets, pairs, counts):  # type: ignore[no-untyped-def]
    """The number of common values of pairs of the sorted sets `hashes[offsets[i]:offsets[i + 1]]`.

    for each pair (a, b) of sets:
        walk both in order, advancing the one with the smaller value, both when the values are equal
        counts[pair] = how often they were equal
    """
    for pair in range(len(pairs)):
        i, end = offsets[pairs[pair, 0]], offsets[pairs[pair, 0] + 1]
        j, other_end = offsets[pairs[pair, 1]], offsets[pairs[pair, 1] + 1]
        count = np.int64(0)
        # No branches inside: which set advances is random, and a mispredicted branch costs more than these additions.
        while i < end and j < other_end:
            a, b = hashes[i], hashes[j]
            count += np.int64(a == b)
            i += np.int64(a <= b)
            j += np.int64(b <= a)
        counts[pair] = count
