"""Decisions about a document that depend on the seed and its id alone: not on order, other documents or the machine."""

from __future__ import annotations

import hashlib


def seeded_hash(purpose: str, seed: int, document_id: str) -> int:
    """Return a uniform 64-bit integer. `purpose` makes decisions of different kinds independent of each other: the
    documents held out for validation must not be those that the tokenizer samples first."""
    digest = hashlib.blake2b(f"{purpose}\0{seed}\0{document_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
