"""Payment cards and bank accounts: numbers that prove themselves by their check digits.

A card number has an issuer's prefix with the length that issuer uses and a Luhn digit (ISO/IEC 7812), and is written in
one piece or in the groups cards are embossed with. An IBAN has the length and structure of its country and a remainder
of 1 modulo 97 (ISO 13616); python-stdnum knows both. The replacements are the test number of card processors and the
standard's own example.
"""

from __future__ import annotations

import re

from stdnum import iban, luhn

from gptoss.pii.redact import SPACE, Found, Kind, Pattern, digits, grouped

CREDIT_CARD = "4111 1111 1111 1111"
IBAN = "GB82 WEST 1234 5698 7654 32"

_GROUP = f"[{SPACE}-]"
_CARD = re.compile(
    rf"[2-6](?<![\w.,+/$€£-].)(?<![0-9][{SPACE},].)(?:"
    rf"[0-9]{{13,18}}"  # in one piece
    rf"|[0-9]{{3}}({_GROUP})[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}(?:\1[0-9]{{1,3}})?"  # 4 4 4 4 (3)
    rf"|[0-9]{{3}}({_GROUP})[0-9]{{6}}\2[0-9]{{4,5}}"  # 4 6 5 (American Express), 4 6 4 (Diners Club)
    rf")(?![\w-]|[{SPACE}.,/]?[0-9])"
)
_ISSUERS = re.compile(
    r"4[0-9]{15}"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12}"  # Discover
    r"|3(?:0[0-5]|[689][0-9])[0-9]{11}"  # Diners Club
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}"  # JCB
    r"|62[0-9]{14,17}"  # UnionPay
    r"|(?:5018|5020|5038|6304|6759|676[1-3])[0-9]{12}"  # Maestro
)
_IBAN = re.compile(rf"[A-Z](?<!\w.)[A-Z][0-9]{{2}}(?:[{SPACE}]?[A-Z0-9]){{11,30}}(?!\w)")

_LETTERS = {ord(letter): str(value) for value, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ", start=10)}


def _card(found: re.Match[str]) -> Found | None:
    number = digits(found.group())
    if not _ISSUERS.fullmatch(number) or not luhn.is_valid(number) or number == digits(CREDIT_CARD):
        return None
    return CREDIT_CARD, found.end()


def is_iban(text: str) -> bool:
    """Whether the remainder, and then the rules of the country, are those of an IBAN."""
    number = iban.compact(text)
    rearranged = (number[4:] + number[:4]).translate(_LETTERS)
    return int(rearranged) % 97 == 1 and iban.is_valid(number)  # the remainder is quick to tell


def _iban(found: re.Match[str]) -> Found | None:
    end = grouped(found, is_iban)
    if end is None or iban.compact(found.string[found.start() : end]) == iban.compact(IBAN):
        return None
    return IBAN, end


CREDIT_CARDS = Kind(
    rf"[2-6][0-9]{{13}}|[2-6][0-9]{{3}}{_GROUP}[0-9]{{4}}{_GROUP}[0-9]{{4}}{_GROUP}|3[0-9]{{3}}{_GROUP}[0-9]{{6}}{_GROUP}[0-9]{{4}}",
    (Pattern(_CARD, _card),),
)
IBANS = Kind(
    rf"[A-Z]{{2}}[0-9]{{2}}[{SPACE}]?[A-Z0-9]{{4}}[{SPACE}]?[A-Z0-9]{{4}}[{SPACE}]?[A-Z0-9]{{3}}",
    (Pattern(_IBAN, _iban),),
)
