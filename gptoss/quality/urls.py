"""Filters by origin: the address of a document and its licence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gptoss.quality.repeated_lines import Hashes, hashed, member
from gptoss.quality.word_lists import is_list, read_list

_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>[^/?#:]*)"


def hosts(urls: pa.Array) -> pa.Array:
    """The host of each address in lower case, string [addresses]; empty for what is no address with a host."""
    found = pc.struct_field(pc.extract_regex(pc.fill_null(urls, ""), _HOST), "host")
    return pc.utf8_rtrim(pc.utf8_lower(pc.fill_null(found, "")), ".")


def domain_hashes(entries: Sequence[str]) -> Hashes:
    """Hashes of all blocked domains, of the entries themselves and of those in the lists among them, uint64 sorted."""
    domains = [domain for entry in entries for domain in (read_list(entry) if is_list(entry) else [entry])]
    return np.array(sorted({hashed(domain.strip().strip(".").lower()) for domain in domains}), dtype=np.uint64)


def blocked_domains(urls: pa.Array, domains: Hashes) -> pa.Array:
    """The blocked domain each address is in, string [addresses]; null where there is none."""
    encoded = hosts(urls).dictionary_encode()
    suffixes = [list(_domains(host)) for host in encoded.dictionary.to_pylist()]
    hashes = np.array([hashed(domain) for group in suffixes for domain in group], dtype=np.uint64)
    flags = iter(member(domains, hashes).tolist())
    blocked = [next((domain for domain, flag in [(d, next(flags)) for d in group] if flag), None) for group in suffixes]
    return pa.array(blocked, pa.string()).take(encoded.indices)


def _domains(host: str) -> Iterator[str]:
    """`www.example.com`, `example.com`, `com`."""
    while host:
        yield host
        host = host.partition(".")[2]


def blocked_words(urls: pa.Array, words: Sequence[str]) -> pa.Array:
    """The blocked word each address holds between characters that are neither letters nor digits, string [addresses];
    null where there is none."""
    if not words:
        return pa.nulls(len(urls), pa.string())
    union = "|".join(re.escape(word.lower()) for word in sorted(words, key=len, reverse=True))
    found = pc.extract_regex(
        pc.utf8_lower(pc.fill_null(urls, "")), rf"(?:^|[^\p{{L}}\p{{N}}])(?P<word>{union})(?:[^\p{{L}}\p{{N}}]|$)"
    )
    return pc.struct_field(found, "word")


def is_licensed(licenses: pa.Array, globs: Sequence[str]) -> pa.Array:
    """Whether each licence matches one of the globs, whatever the case, bool [licences]."""
    encoded = pc.fill_null(licenses, "").dictionary_encode()
    wanted = [glob.lower() for glob in globs]
    allowed = [any(fnmatchcase(text.lower(), glob) for glob in wanted) for text in encoded.dictionary.to_pylist()]
    return pa.array(allowed, pa.bool_()).take(encoded.indices)
