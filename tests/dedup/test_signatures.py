"""Signatures: the order of preference."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gptoss.dedup.corpus import NEW_BIT
from gptoss.dedup.signatures import document_ranks


def test_the_longest_then_the_lowest_id_is_preferred() -> None:
    ids = ["00000001b", "00000000f", "zz", "00000000f", "ffffffff", "", "0000000a"]
    ranks = document_ranks(pa.array(ids, pa.large_string()), np.array([5, 5, 9, 5, 2**40, 0, 5]))
    assert ranks[1] == ranks[3] < ranks[0] < ranks[6]
    assert ranks[4] < ranks[2] < ranks[1]
    assert ranks.max() == ranks[5] < NEW_BIT
