"""Replace email addresses and public IP addresses by neutral ones, as FineWeb does (Penedo et al. 2024, appendix).

The replacements are reserved for documentation (RFC 2606, 5737, 3849), so redacted text stays natural, names nobody,
and redacting twice changes nothing. Private, loopback and reserved IP addresses identify nobody and stay; so do
version and section numbers that look like addresses, when a word or letter before them says so.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

EMAIL = "email@example.com"
IPV4 = "192.0.2.1"
IPV6 = "2001:db8::1"

# The look-behind lets a match start at the beginning of a run of characters only, which keeps the search linear.
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_%+][A-Za-z0-9._%+-]{0,63}@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![A-Za-z0-9-])"
)
_RESERVED_DOMAIN = re.compile(r"(?i)(?:^|\.)(?:example\.(?:com|org|net)|example|invalid|test|localhost)$")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9a-fA-F]{3}:[0-9a-fA-F:]{2,34}(?![\w:])")
_NUMBERED = re.compile(
    r"(?i)(?:\b(?:version|ver|release|build|firmware|revision|rev|section|sec|chapter|clause|article|figure|table|rfc)"
    r"[.:]?|§)\s*\Z"
)
_LOOK_BACK = 16


def redact(texts: pa.Array, kinds: tuple[str, ...]) -> tuple[pa.Array, dict[str, int]]:
    """The texts with every address of these kinds (`email`, `ip`) replaced, large_string [texts], and how many of
    each kind were replaced."""
    counts = dict.fromkeys(kinds, 0)
    for kind in kinds:
        suspects, replace = _KINDS[kind]
        suspected = pc.match_substring_regex(texts, suspects)
        if not pc.any(suspected).as_py():
            continue
        replaced = [replace(text.as_py()) for text in texts.filter(suspected)]
        counts[kind] = sum(count for _, count in replaced)
        texts = pc.replace_with_mask(texts, suspected, pa.array([text for text, _ in replaced], texts.type))
    return texts, counts


def redact_emails(text: str) -> tuple[str, int]:
    """The text without email addresses, and how many it had."""
    return _substitute(_EMAIL, text, lambda found: None if _RESERVED_DOMAIN.search(found.group(1)) else EMAIL)


def redact_ips(text: str) -> tuple[str, int]:
    """The text without public IP addresses, and how many it had."""
    text, fours = _substitute(_IPV4, text, lambda found: IPV4 if _is_public(found) else None)
    text, sixes = _substitute(_IPV6, text, lambda found: IPV6 if _is_public(found) else None)
    return text, fours + sixes


def _is_public(found: re.Match[str]) -> bool:
    try:
        address = ipaddress.ip_address(found.group())
    except ValueError:
        return False
    before = found.string[max(0, found.start() - _LOOK_BACK) : found.start()]
    return address.is_global and not address.is_multicast and not _NUMBERED.search(before)


def _substitute(pattern: re.Pattern[str], text: str, decide: Callable[[re.Match[str]], str | None]) -> tuple[str, int]:
    """Replace matches by what `decide` says (None: leave), counting replacements."""
    count = 0

    def replacement(found: re.Match[str]) -> str:
        nonlocal count
        replaced = decide(found)
        count += replaced is not None
        return found.group() if replaced is None else replaced

    return pattern.sub(replacement, text), count


_KINDS: dict[str, tuple[str, Callable[[str], tuple[str, int]]]] = {
    "email": (r"[A-Za-z0-9_%+-]@[A-Za-z0-9-]+\.", redact_emails),
    "ip": (r"\d\.\d{1,3}\.\d{1,3}\.\d|[23][0-9a-fA-F]{3}:[0-9a-fA-F:]", redact_ips),
}
"""For each kind, a cheap regular expression for texts that may hold it, and what replaces it."""
