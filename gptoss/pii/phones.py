"""Telephone numbers, verified by the numbering plans of the countries.

Candidates are narrow, because most digits in texts are years, pages, prices and identifiers:
- `+` and a country code; the number must be in use in that country's plan;
- North American numbers with punctuation: `(212) 555-1234`, `212-555-1234`, `212.555.1234`, also preceded by `1-`;
- British and French numbers in their usual groups (`020 7946 0018`, `01 42 68 53 00`) that are not part of a series of
  numbers, and numbers whose area code is in brackets and starts with 0;
- any number of a European or North American plan directly after a word such as *Tel.*, *phone* or *Fax*.

References: the plans are those of phonenumbers, the port of Google's libphonenumber. The replacement is in the range
that North America reserves for fiction (555-0100 to 555-0199); numbers of that range are never replaced.
"""

from __future__ import annotations

import re

import phonenumbers
from phonenumbers import NumberParseException

from gptoss.pii.detector import SPACE, Detector, PersonalDataKind, Replacement, digits, number_end

PHONE = "+1 202-555-0100"

REGIONS = ("GB", "FR", "DE", "ES", "IT", "NL", "BE", "AT", "CH", "PT", "IE", "SE", "DK", "NO", "FI", "PL", "US")
"""Numbering plans tried for a number without a country code."""

_FICTION = re.compile(r"\+1[0-9]{3}55501[0-9]{2}")
# Expressions start with a character of their own and then look back (`_ALONE`): the search can then skip to that
# character, where a leading lookbehind would be tried at every position.
_LINK = f"[{SPACE}.()/-]{{0,3}}"
_ALONE = rf"(?<![\w.,+/=-].)(?<![0-9][{SPACE},].)"
"""After the first character of an expression: no digit, word or sign precedes it."""
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
    """Whether the number is in use in a numbering plan (of `region`, if given) and not reserved for fiction."""
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        return False
    if _FICTION.fullmatch(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)):
        return False
    # Not `is_possible_number`, which checks only the length: dates and ISBNs have that too.
    return phonenumbers.is_valid_number(number)


def _international(match: re.Match[str]) -> Replacement | None:
    end = number_end(match, lambda text: is_number(text, None))
    return None if end is None else Replacement(PHONE, end)


def _north_american(match: re.Match[str]) -> Replacement | None:
    return Replacement(PHONE, match.end()) if is_number(match.group(), "US") else None


def _british(match: re.Match[str]) -> Replacement | None:
    text = match.group().replace("\u00a0", " ")
    if not is_number(text, "GB"):
        return None
    # Groups of other lengths are other numbers in a row: a British number is written in the groups of its area code.
    usual = phonenumbers.format_number(phonenumbers.parse(text, "GB"), phonenumbers.PhoneNumberFormat.NATIONAL)
    return Replacement(PHONE, match.end()) if usual == text else None


def _french(match: re.Match[str]) -> Replacement | None:
    pairs = digits(match.group())
    numbers = [int(pairs[start : start + 2]) for start in range(0, 10, 2)]
    if numbers == sorted(set(numbers)):  # ascending pairs are lottery numbers, an index or a series
        return None
    return Replacement(PHONE, match.end()) if is_number(pairs, "FR") else None


def _bracketed(match: re.Match[str]) -> Replacement | None:
    return Replacement(PHONE, match.end()) if any(is_number(match.group(), region) for region in REGIONS) else None


def _named(match: re.Match[str]) -> Replacement | None:
    end = number_end(match, lambda text: any(is_number(text, region) for region in REGIONS), group=2)
    return None if end is None else Replacement(match.group(1) + PHONE, end)


PHONES = PersonalDataKind(
    rf"\+[1-9]{_LINK}[0-9]{_LINK}[0-9]{_LINK}[0-9]{_LINK}[0-9]{_LINK}[0-9]"
    rf"|[0-9]{{3}}[.)-][{SPACE}-]?[0-9]{{3}}[{SPACE}.-][0-9]{{4}}"
    rf"|0[0-9]{{2,4}}[{SPACE}][0-9]{{3,4}}[{SPACE}]?[0-9]{{3}}"
    rf"|0[1-9][{SPACE}.][0-9]{{2}}[{SPACE}.][0-9]{{2}}[{SPACE}.][0-9]{{2}}[{SPACE}.][0-9]{{2}}"
    rf"|\(0[0-9]{{1,4}}\)[{SPACE}-]?[0-9]"
    rf"|(?i:{_WORDS})[^0-9\n]{{0,8}}[0(1-9]{_LINK}[0-9]{_LINK}[0-9]{_LINK}[0-9]{_LINK}[0-9]{_LINK}[0-9]",
    (
        Detector(_INTERNATIONAL, _international),
        Detector(_NORTH_AMERICAN, _north_american),
        Detector(_FRENCH, _french),
        Detector(_BRITISH, _british),
        Detector(_BRACKETED, _bracketed),
        Detector(_NAMED, _named),
    ),
)
