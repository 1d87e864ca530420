"""The mixing function against published values of SplitMix64."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gptoss.text.mixing import mix
from tests.text.kernels.reference import plain_mix


def test_the_first_output_of_splitmix64_for_a_seed() -> None:
    # Seed 1234567, as in the test vectors of Rosetta Code ("Pseudo-random numbers/Splitmix64").
    assert mix(np.array([1234567], dtype=np.uint64)).tolist() == [6457827717110365317]


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_arrays_equal_plain_python(values: list[int]) -> None:
    assert mix(np.array(values, dtype=np.uint64)).tolist() == [plain_mix(value) for value in values]
