"""Properties of an address and of a licence: host, blocked domain, blocked word, allowed licence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gptoss.quality.hashing import Hashes, hash64, is_member
from gptoss.quality.word_lists import is_list, read_list

# `scheme://user@host:port/`. A regular expression, because Arrow applies it to a whole column; `urllib.parse` would run
# in Python for each address.
_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>[^/?#:]*)"


def hosts(urls: pa.Array) -> pa.Array:
    """The lowercase host of each address, string [addresses]; empty for anything that is not an address with a host."""
    found = pc.struct_field(pc.extract_regex(pc.fill_null(urls, ""), _HOST), "host")
    # `www.example.com.` with a final dot is the same host (RFC 1034, section 3.1).
    return pc.utf8_rtrim(pc.utf8_lower(pc.fill_null(found, "")), ".")


def domain_hashes(entries: Sequence[str]) -> Hashes:
    """Sorted uint64 hashes of the blocked domains: the entries, and the lines of the lists among them."""
    domains = [domain for entry in entries for domain in (read_list(entry) if is_list(entry) else [entry])]
    return np.array(sorted({hash64(domain.strip().strip(".").lower()) for domain in domains}), dtype=np.uint64)


def blocked_domains(urls: pa.Array, domains: Hashes) -> pa.Array:
    """The blocked domain that each address belongs to, string [addresses]; null where there is none."""
    encoded = hosts(urls).dictionary_encode()  # a batch of a crawl has few hosts
    parents = [list(_parent_domains(host)) for host in encoded.dictionary.to_pylist()]
    hashes = np.array([hash64(domain) for group in parents for domain in group], dtype=np.uint64)
    is_blocked = iter(is_member(hashes, domains).tolist())
    # The inner list consumes one flag per domain, also after the first match.
    blocked = [
        next((domain for domain, flag in [(d, next(is_blocked)) for d in group] if flag), None) for group in parents
    ]
    return pa.array(blocked, pa.string()).take(encoded.indices)


def _parent_domains(host: str) -> Iterator[str]:
    """`www.example.com`, `example.com`, `com`."""
    while host:
        yield host
        host = host.partition(".")[2]


def blocked_words(urls: pa.Array, words: Sequence[str]) -> pa.Array:
    """The blocked word that each address contains between characters that are neither letters nor digits, string
    [addresses]; null where there is none."""
    if not words:
        return pa.nulls(len(urls), pa.string())
    # Longest first: RE2 prefers the first alternative, and the longer word is the better explanation.
    union = "|".join(re.escape(word.lower()) for word in sorted(words, key=len, reverse=True))
    found = pc.extract_regex(
        pc.utf8_lower(pc.fill_null(urls, "")), rf"(?:^|[^\p{{L}}\p{{N}}])(?P<word>{union})(?:[^\p{{L}}\p{{N}}]|$)"
    )
    return pc.struct_field(found, "word")


def is_licensed(licenses: pa.Array, globs: Sequence[str]) -> pa.Array:
    """Whether each licence matches one of the globs, ignoring case, bool [licences]."""
    encoded = pc.fill_null(licenses, "").dictionary_encode()
    allowed = [
        # fnmatchcase on lowercase: `fnmatch` folds case on some systems only.
        any(fnmatchcase(license_.lower(), glob.lower()) for glob in globs)
        for license_ in encoded.dictionary.to_pylist()
    ]
    return pa.array(allowed, pa.bool_()).take(encoded.indices)
