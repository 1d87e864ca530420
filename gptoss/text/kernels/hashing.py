"""Hashes of whole texts, of windows of words and of shingles, and the MinHash band keys of texts."""

from __future__ import annotations

import numpy as np

from gptoss.text.kernels.compiler import BYTES, HASHES, INTEGERS, UINT32, UNALIGNED, inline, kernel, mix
from gptoss.text.mixing import GOLDEN_GAMMA

# Base of the polynomial hashes. Any odd number keeps the powers of the base distinct; one without structure spreads the
# sums, which `mix` finishes.
BASE = GOLDEN_GAMMA
_BITS_32 = np.uint64(32)
_MAX_UINT32 = np.uint32(2**32 - 1)
# Shingles hashed at a time: 4 KiB of hashes stay in the first-level cache while all permutations pass over them.
_BLOCK = 1024


@kernel(f"void({BYTES}, {UNALIGNED}, {INTEGERS}, uint64[:, ::1])")
def text_digests(data, data_u64, bounds, digests):  # type: ignore[no-untyped-def]
    """128 bits of each text `data[bounds[i]:bounds[i + 1]]`, uint64 [texts, 2].

        high, low = length of the text, BASE
        for each eight bytes of the text (zeros after its end): high = mix(high ^ bytes); low = mix(low ^ high)
        digests[text] = high, low

    `low` takes in every intermediate `high`, so that two texts must collide in both. Digests of empty texts are left
    as they are. `data_u64` is `data` as the uint64 at every byte.
    """
    for text in range(len(bounds) - 1):
        start, end = bounds[text], bounds[text + 1]
        if start == end:
            continue
        high, low = np.uint64(end - start), BASE
        place = start
        while place + 8 <= end:
            high = mix(high ^ data_u64[place])
            low = mix(low ^ high)
            place += 8
        chunk = np.uint64(0)
        for offset in range(end - place):
            chunk |= np.uint64(data[place + offset]) << np.uint64(8 * offset)
        high = mix(high ^ chunk)
        digests[text, 0], digests[text, 1] = high, mix(low ^ high)


@inline
def _start_rolling(hashes, first, width):  # type: ignore[no-untyped-def]
    """BASE ** (width - 1), and the polynomial of the first `width - 1` hashes from `first` on."""
    top = np.uint64(1)
    total = np.uint64(0)
    for place in range(width - 1):
        top *= BASE
        total = total * BASE + hashes[first + place]
    return top, total


@kernel(f"void({HASHES}, {INTEGERS}, int64, {INTEGERS}, uint64[::1])")
def shingle_hashes(hashes, offsets, size, out_offsets, out):  # type: ignore[no-untyped-def]
    """A hash of each window of `size` words of each text; a text shorter than a window is one window.

        for each text with the words offsets[i] … offsets[i + 1]: width = min(size, number of words)
            out[out_offsets[i] + p] = mix(sum[p]), sum[p] = sum of hashes[offsets[i] + p + j] * BASE ** (width - 1 - j)
            and sum[p + 1] = (sum[p] - first hash of the window * BASE ** (width - 1)) * BASE + next hash

    A rolling hash (Karp and Rabin 1987) modulo 2^64: windows of any size cost the same.
    """
    for text in range(len(offsets) - 1):
        first = offsets[text]
        width = min(offsets[text + 1] - first, size)
        top, total = _start_rolling(hashes, first, width)
        for place in range(out_offsets[text], out_offsets[text + 1]):
            total = total * BASE + hashes[first + width - 1]
            out[place] = mix(total)
            total -= hashes[first] * top
            first += 1


@kernel(f"void({HASHES}, {INTEGERS}, int64, {UINT32}, {UINT32}, int64, uint64[:, ::1])")
def minhash_band_keys(hashes, offsets, size, multiply, add, rows, keys):  # type: ignore[no-untyped-def]
    """The MinHash of each text, reduced to one key per band. See gptoss/dedup/minhash.py.

        for each text and permutation p:
            least[p] = min((x * multiply[p] + add[p]) mod 2^32 for the upper 32 bits x of each shingle hash)
        for each band b: key = b; for each of its rows p: key = mix(key ^ least[p]); keys[text, b] = key

    Keys of texts without words are left as they are.
    """
    least = np.empty(len(multiply), dtype=np.uint32)
    block = np.empty(_BLOCK + 3, dtype=np.uint32)
    for text in range(len(offsets) - 1):
        first = offsets[text]
        count = offsets[text + 1] - first
        if count == 0:
            continue
        width = min(count, size)
        shingles = count - width + 1
        top, total = _start_rolling(hashes, first, width)
        for number in range(len(least)):
            least[number] = _MAX_UINT32
        for start in range(0, shingles, _BLOCK):
            filled = min(_BLOCK, shingles - start)
            for place in range(filled):
                here = first + start + place
                total = total * BASE + hashes[here + width - 1]
                block[place] = np.uint32(mix(total) >> _BITS_32)
                total -= hashes[here] * top
            # Four shingles per pass over the permutations: each constant is loaded a quarter as often, and the inner
            # loop over permutations becomes SIMD. Repeating a shingle to fill up the four does not change a minimum.
            while filled % 4:
                block[filled] = block[filled - 1]
                filled += 1
            for place in range(0, filled, 4):
                one, two, three, four = block[place], block[place + 1], block[place + 2], block[place + 3]
                for number in range(len(least)):
                    factor = multiply[number]
                    summand = add[number]
                    a = np.uint32(one * factor + summand)
                    b = np.uint32(two * factor + summand)
                    c = np.uint32(three * factor + summand)
                    d = np.uint32(four * factor + summand)
                    least[number] = min(min(min(a, b), min(c, d)), least[number])
        for band in range(keys.shape[1]):
            key = np.uint64(band)  # so that equal rows in two bands give different keys
            for row in range(rows):
                key = mix(key ^ np.uint64(least[band * rows + row]))
            keys[text, band] = key
