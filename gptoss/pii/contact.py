"""Email addresses and public IP addresses.

Private, loopback and reserved IP addresses identify nobody and are kept. Version and section numbers that look like
addresses are kept too, if the word before them says so.

References: FineWeb redacts the same two kinds (Penedo et al. 2024). The replacements are reserved for
documentation by RFC 2606, 5737 and 3849.
"""

from __future__ import annotations

import ipaddress
import re

from gptoss.pii.detector import Detector, PersonalDataKind, Replacement

EMAIL = "email@example.com"
IPV4 = "192.0.2.1"
IPV6 = "2001:db8::1"

# The lookbehind lets a match start only at the beginning of a run of characters, which keeps the search linear in the
# length of the text. The bounds on repetitions (local part 64: RFC 5321; label 63: RFC 1035) limit the work per run.
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+@-])[A-Za-z0-9_%+][A-Za-z0-9._%+-]{0,63}@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![A-Za-z0-9-])"
)
# Addresses of RFC 2606 belong to nobody; among them is our own replacement, which must not be counted again.
_RESERVED_DOMAIN = re.compile(r"(?i)(?:^|\.)(?:example\.(?:com|org|net)|example|invalid|test|localhost)$")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
# Only 2000::/3 is assigned for global use (RFC 4291), which excludes most times, ratios and C++ names with colons.
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9a-fA-F]{3}:[0-9a-fA-F:]{2,34}(?![\w:])")
# Words before a number of four parts that is not an address: "version 1.2.3.4", "section 3.2.1.4".
_NUMBERING_WORD = re.compile(
    r"(?i)(?:\b(?:version|ver|release|build|firmware|revision|rev|section|sec|chapter|clause|article|figure|table|rfc)"
    r"[.:]?|§)\s*\Z"
)
_LOOK_BACK = 16  # characters: the longest such word with punctuation


def _email(match: re.Match[str]) -> Replacement | None:
    return None if _RESERVED_DOMAIN.search(match.group(1)) else Replacement(EMAIL, match.end())


def _ip(match: re.Match[str]) -> Replacement | None:
    try:
        address = ipaddress.ip_address(match.group())
    except ValueError:
        return None
    before = match.string[max(0, match.start() - _LOOK_BACK) : match.start()]
    if not address.is_global or address.is_multicast or _NUMBERING_WORD.search(before):
        return None
    return Replacement(IPV4 if address.version == 4 else IPV6, match.end())


EMAILS = PersonalDataKind(r"[A-Za-z0-9_%+-]@[A-Za-z0-9-]+\.", (Detector(_EMAIL, _email),))
IPS = PersonalDataKind(
    r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[23][0-9a-fA-F]{3}:[0-9a-fA-F:]",
    (Detector(_IPV4, _ip), Detector(_IPV6, _ip)),
)
