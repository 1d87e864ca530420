"""The hashing kernels against plain Python. MinHash band keys are tested in tests/dedup/test_minhash.py."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gptoss.text.arrays import offsets_of, uint64_at_every_byte
from gptoss.text.kernels.hashing import shingle_hashes, text_digests
from tests.text.kernels.reference import plain_digest, plain_window_hash

HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=12)


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_digests(texts: list[bytes]) -> None:
    data = np.frombuffer(b"".join(texts), dtype=np.uint8)
    digests = np.zeros((len(texts), 2), dtype=np.uint64)
    text_digests(data, uint64_at_every_byte(data), offsets_of([len(text) for text in texts]), digests)
    assert digests.tolist() == [list(plain_digest(text)) if text else [0, 0] for text in texts]


@given(st.lists(HASHES, max_size=5), st.integers(1, 6))
def test_shingles(texts: list[list[int]], size: int) -> None:
    expected = [
        [plain_window_hash(text[start : start + size]) for start in range(max(1, len(text) - size + 1))] if text else []
        for text in texts
    ]
    offsets = offsets_of([len(hashes) for hashes in expected])
    found = np.zeros(offsets[-1], dtype=np.uint64)
    words = np.array([word for text in texts for word in text], dtype=np.uint64)
    shingle_hashes(words, offsets_of([len(text) for text in texts]), size, offsets, found)
    assert found.tolist() == [value for hashes in expected for value in hashes]
