"""Removes documents by their address: blocked domains, blocked words in the URL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from gptoss.curate.document_batch import DocumentBatch
from gptoss.curate.filters.base import Filter, FilterContext
from gptoss.quality.urls import blocked_domains, blocked_words, domain_hashes


class UrlFilter(Filter):
    """Configured by `curate.urls`. Reason `url`, for a domain (with its subdomains) and for a word.

    References: RefinedWeb (Penedo et al. 2023, appendix G.1), which blocks domains and scores words of the address.
    """

    name = "url"

    @classmethod
    def prepare(cls, context: FilterContext) -> dict[str, Any] | None:
        urls = context.curate.urls
        if urls is None:
            return None
        # Lists hold millions of domains: read and hashed once here, loaded by each task as 8 bytes per domain.
        hashes = domain_hashes(urls.blocked_domains).tobytes() if urls.blocked_domains else b""
        # Without domains there is no file: an empty one would be searched for every batch.
        return {
            "domain_hashes": context.save("domains", hashes) if urls.blocked_domains else "",
            "words": list(urls.blocked_words),
        }

    def __init__(self, domain_hashes: str, words: Sequence[str]) -> None:
        self.domain_hashes = np.fromfile(domain_hashes, dtype=np.uint64) if domain_hashes else None
        self.words = words

    def apply(self, batch: DocumentBatch) -> None:
        urls = batch.ingested.column("url")
        if self.domain_hashes is not None:
            domain = blocked_domains(urls, self.domain_hashes)
            # Before the words: a listed domain is the more specific reason.
            batch.remove(pc.is_valid(domain), "url", pc.binary_join_element_wise("domain", domain, " "))
        word = blocked_words(urls, self.words)
        batch.remove(pc.is_valid(word), "url", pc.binary_join_element_wise("word", word, " "))
