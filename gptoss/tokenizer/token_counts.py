"""Counts of documents, text and tokens."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class TokenCounts:
    """How much text was encoded as how many tokens."""

    documents: int = 0
    bytes: int = 0
    """UTF-8 bytes of text."""
    tokens: int = 0

    def add(self, *, text_bytes: int, tokens: int) -> None:
        self.documents += 1
        self.bytes += text_bytes
        self.tokens += tokens

    def as_metrics(self) -> dict[str, float]:
        """Return the counts and `bytes_per_token`, the compression ratio."""
        return {**asdict(self), "bytes_per_token": self.bytes / self.tokens}
