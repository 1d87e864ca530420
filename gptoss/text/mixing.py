"""The mixing function of all hashes: for NumPy arrays and, compiled in `kernels/compiler.py`, for single values."""

from __future__ import annotations

import numpy as np

from gptoss.text.arrays import Hashes

# Constants of SplitMix64: its increment, the golden ratio in 64 bits, and the multipliers of its finaliser (Stafford's
# "Mix13" variant of MurmurHash3's). They are part of the format of stored signatures and must never change.
GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)


def mix(values: Hashes) -> Hashes:
    """The output of SplitMix64 for the state `values`: a bijection of 64 bits in which every bit of the input reaches
    every bit of the output.

    References: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators (OOPSLA 2014).
    """
    # Adding the increment first keeps zero from being a fixed point of the finaliser.
    mixed = values + GOLDEN_GAMMA
    mixed = (mixed ^ (mixed >> _SHIFT_1)) * _MULTIPLIER_1
    mixed = (mixed ^ (mixed >> _SHIFT_2)) * _MULTIPLIER_2
    return mixed ^ (mixed >> _SHIFT_3)
