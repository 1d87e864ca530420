"""The hash functions of the kernels in plain Python."""

from __future__ import annotations

BASE = 0x9E3779B97F4A7C15
MASK = 2**64 - 1


def plain_mix(value: int) -> int:
    """One output of SplitMix64 for a state."""
    value = (value + BASE) & MASK
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & MASK
    return value ^ value >> 31


def plain_window_hash(hashes: list[int]) -> int:
    """The mixed polynomial of one window."""
    return plain_mix(sum(value * BASE ** (len(hashes) - 1 - place) for place, value in enumerate(hashes)) & MASK)


def plain_digest(text: bytes) -> tuple[int, int]:
    """128 bits of a text."""
    high, low = len(text), BASE
    whole = len(text) // 8 * 8
    for start in range(0, whole + 8, 8):  # the last chunk may be empty
        high = plain_mix(high ^ int.from_bytes(text[start : start + 8], "little"))
        low = plain_mix(low ^ high)
    return high, low
