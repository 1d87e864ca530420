"""Email addresses and public IP addresses, as FineWeb finds them (Penedo et al. 2024, appendix).

The replacements are reserved for documentation (RFC 2606, 5737, 3849). Private, loopback and reserved IP addresses
identify nobody and stay; so do version and section numbers that look like addresses, when a word or letter before them
says so.
"""

from __future__ import annotations

import ipaddress
import re

from gptoss.pii.redact import Found, Kind, Pattern

EMAIL = "email@example.com"
IPV4 = "192.0.2.1"
IPV6 = "2001:db8::1"

# The look-behind lets a match start at the beginning of a run of characters only, which keeps the search linear.
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+@-])[A-Za-z0-9_%+][A-Za-z0-9._%+-]{0,63}@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24})(?![A-Za-z0-9-])"
)
_RESERVED_DOMAIN = re.compile(r"(?i)(?:^|\.)(?:example\.(?:com|org|net)|example|invalid|test|localhost)$")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9a-fA-F]{3}:[0-9a-fA-F:]{2,34}(?![\w:])")
_NUMBERED = re.compile(
    r"(?i)(?:\b(?:version|ver|release|build|firmware|revision|rev|section|sec|chapter|clause|article|figure|table|rfc)"
    r"[.:]?|§)\s*\Z"
)
_LOOK_BACK = 16


def _email(found: re.Match[str]) -> Found | None:
    return None if _RESERVED_DOMAIN.search(found.group(1)) else (EMAIL, found.end())


def _ip(found: re.Match[str]) -> Found | None:
    try:
        address = ipaddress.ip_address(found.group())
    except ValueError:
        return None
    before = found.string[max(0, found.start() - _LOOK_BACK) : found.start()]
    if not address.is_global or address.is_multicast or _NUMBERED.search(before):
        return None
    return IPV4 if address.version == 4 else IPV6, found.end()


EMAILS = Kind(r"[A-Za-z0-9_%+-]@[A-Za-z0-9-]+\.", (Pattern(_EMAIL, _email),))
IPS = Kind(
    r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[23][0-9a-fA-F]{3}:[0-9a-fA-F:]", (Pattern(_IPV4, _ip), Pattern(_IPV6, _ip))
)
