"""Telephone numbers, judged by the numbering plans of the countries (phonenumbers, the port of Google's library).

What counts as a candidate is narrow, as most digits in texts are years, pages, prices and identifiers:
- `+` and a country code; the number must be in use in that country's plan;
- North American numbers with punctuation: `(212) 555-1234`, `212-555-1234`, `212.555.1234`, perhaps with `1-` before;
- British and French numbers grouped as written there (`020 7946 0018`, `01 42 68 53 00`) away from other numbers, and
  an area code in brackets that starts with 0;
- any number of a European or North American plan right after a word such as *Tel.*, *phone* or *Fax*.

The replacement is in the range that North America reserves for fiction (555-0100 to 555-0199), which is never touched.
"""

from __future__ import annotations

import re

import phonenumbers
from phonenumbers import NumberParseException

from gptoss.pii.redact import SPACE, Found, Kind, Pattern, digits, grouped

PHONE = "+1 202-555-0100"

REGIONS = ("GB", "FR", "DE", "ES", "IT", "NL", "BE", "AT", "CH", "PT", "IE", "SE", "DK", "NO", "FI", "PL", "US")
"""Numbering plans tried for a number without a country code."""

_FICTION = re.compile(r"\+1[0-9]{3}55501[0-9]{2}")
_LINK = f"[{SPACE}.()/-]{{0,3}}"
_ALONE = rf"(?<![\w.,+/=-].)(?<![0-9][{SPACE},].)"
"""After the first character: no digit, word or sign before it."""
_END = rf"(?!\w|[{SPACE}]?[.,/-]?[0-9])"
_WORDS = (
    "tele(?:phone|fon|fax|foon)|phone|fax|tel|tlf|mob(?:ile|il)?|fon|handy|whatsapp|tél(?:éphone|écopie)?|teléfono|móvil"
    "|telefono|cellulare"
)

_INTERNATIONAL = re.compile(rf"\+(?<![\w)+].)[1-9](?:{_LINK}[0-9]){{6,14}}(?!\w)")
_NORTH_AMERICAN = re.compile(
    rf"(?<![\w.,+/=-])(?<![0-9][{SPACE},])(?:1[{SPACE}.-])?"
    rf"(?:\([2-9][0-9]{{2}}\)[{SPACE}-]?[2-9][0-9]{{2}}[{SPACE}.-]|[2-9][0-9]{{2}}([.-])[2-9][0-9]{{2}}\1)[0-9]{{4}}{_END}"
)
_BRITISH = re.compile(rf"0{_ALONE}[0-9]{{2,4}}[{SPACE}][0-9]{{3,4}}[{SPACE}]?[0-9]{{3,4}}{_END}")
_FRENCH = re.compile(rf"0{_ALONE}[1-9](?:([{SPACE}.])[0-9]{{2}})(?:\1[0-9]{{2}}){{3}}{_END}")
_BRACKETED = re.compile(rf"\((?<!\w.)0[0-9]{{1,4}}\)(?:[{SPACE}-]?[0-9]){{5,9}}{_END}")
_NAMED = re.compile(
    rf"(?i)(\b(?:{_WORDS})(?:[{SPACE}]?(?:no|nr|number|n°))?[{SPACE}.:/#-]{{0,3}})([0(1-9](?:{_LINK}[0-9]){{7,13}})(?!\w)"
)


def is_number(text: str, region: str | None) -> bool:
    """Whether a numbering plan has this number (for a region, that country's) and it is not set aside for fiction."""
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return False
    if _FICTION.fullmatch(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)):
        return False
    return phonenumbers.is_valid_number(number)


def _international(found: re.Match[str]) -> Found | None:
    end = grouped(found, lambda text: is_number(text, None))
    return None if end is None else (PHONE, end)


def _north_american(found: re.Match[str]) -> Found | None:
    return (PHONE, found.end()) if is_number(found.group(), "US") else None


def _british(found: re.Match[str]) -> Found | None:
    text = found.group().replace("\u00a0", " ")
    if not is_number(text, "GB"):
        return None
    usual = phonenumbers.format_number(phonenumbers.parse(text, "GB"), phonenumbers.PhoneNumberFormat.NATIONAL)
    return (PHONE, found.end()) if usual == text else None


def _french(found: re.Match[str]) -> Found | None:
    pairs = digits(found.group())
    numbers = [int(pairs[start : start + 2]) for start in range(0, 10, 2)]
    if numbers == sorted(set(numbers)):  # a draw of lots, an index, a series
        return None
    return (PHONE, found.end()) if is_number(pairs, "FR") else None


def _bracketed(found: re.Match[str]) -> Found | None:
    return (PHONE, found.end()) if any(is_number(found.group(), region) for region in REGIONS) else None


def _named(found: re.Match[str]) -> Found | None:
    end = grouped(found, lambda text: any(is_number(text, region) for region in REGIONS), group=2)
    return None if end is None else (found.group(1) + PHONE, end)


PHONES = Kind(
    rf"\+[1-9]{_LINK}[0-9]{_LINK}[0-9]{_LINK}[0-9]{_LINK}[0-9]{_LINK}[0-9]"
    rf"|[0-9]{{3}}[.)-][{SPACE}-]?[0-9]{{3}}[{SPACE}.-][0-9]{{4}}"
    rf"|0[0-9]{{2,4}}[{SPACE}][0-9]{{3,4}}[{SPACE}]?[0-9]{{3}}"
    rf"|0[1-9][{SPACE}.][0-9]{{2}}[{SPACE}.][0-9]{{2}}[{SPACE}.][0-9]{{2}}[{SPACE}.][0-9]{{2}}"
    rf"|\(0[0-9]{{1,4}}\)[{SPACE}-]?[0-9]"
    rf"|(?i:{_WORDS})[^0-9\n]{{0,8}}[0(1-9]{_LINK}[0-9]{_LINK}[0-9]{_LINK}[0-9]{_LINK}[0-9]{_LINK}[0-9]",
    (
        Pattern(_INTERNATIONAL, _international),
        Pattern(_NORTH_AMERICAN, _north_american),
        Pattern(_FRENCH, _french),
        Pattern(_BRITISH, _british),
        Pattern(_BRACKETED, _bracketed),
        Pattern(_NAMED, _named),
    ),
)
