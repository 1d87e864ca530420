"""Payment cards and bank accounts: numbers that are verified by their check digits.

A card number has the prefix and length of an issuer and a Luhn digit, and is written without spaces or in the groups
that are printed on cards. An IBAN has the length and structure of its country and a remainder of 1 modulo 97.

References: ISO/IEC 7812 (cards) and ISO 13616 (IBAN), as python-stdnum implements them. The replacements are the test
number of card processors and the example of ISO 13616.
"""

from __future__ import annotations

import re

from stdnum import iban, luhn

from gptoss.pii.detector import SPACE, Detector, PersonalDataKind, Replacement, digits, number_end

CREDIT_CARD = "4111 1111 1111 1111"
IBAN = "GB82 WEST 1234 5698 7654 32"

_GROUP = f"[{SPACE}-]"
# A sign, currency or digit group before the number makes it a quantity: "$4012...", "1,4012...". The lookbehind follows
# the first digit, so that the search can skip to that digit before it looks back.
_CARD = re.compile(
    rf"[2-6](?<![\w.,+/$€£-].)(?<![0-9][{SPACE},].)(?:"
    rf"[0-9]{{13,18}}"  # without spaces
    rf"|[0-9]{{3}}({_GROUP})[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}(?:\1[0-9]{{1,3}})?"  # 4 4 4 4 (3)
    rf"|[0-9]{{3}}({_GROUP})[0-9]{{6}}\2[0-9]{{4,5}}"  # 4 6 5 (American Express), 4 6 4 (Diners Club)
    rf")(?![\w-]|[{SPACE}.,/]?[0-9])"
)
# One random number in ten passes the Luhn check, so the prefix and length of an issuer are required too.
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
# 15 (Norway) to 34 characters, in any grouping; the country decides the exact length.
_IBAN = re.compile(rf"[A-Z](?<!\w.)[A-Z][0-9]{{2}}(?:[{SPACE}]?[A-Z0-9]){{11,30}}(?!\w)")

# ISO 13616: A is 10 and Z is 35 in the remainder.
_LETTERS = {ord(letter): str(value) for value, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ", start=10)}


def _card(match: re.Match[str]) -> Replacement | None:
    number = digits(match.group())
    if not _ISSUERS.fullmatch(number) or not luhn.is_valid(number) or number == digits(CREDIT_CARD):
        return None
    return Replacement(CREDIT_CARD, match.end())


def is_iban(text: str) -> bool:
    """Whether the check digits and the rules of the country are those of an IBAN."""
    number = iban.compact(text)
    rearranged = (number[4:] + number[:4]).translate(_LETTERS)
    # The remainder first: it rejects 96 of 97 candidates at a fraction of the time that the country's rules take.
    return int(rearranged) % 97 == 1 and iban.is_valid(number)


def _iban(match: re.Match[str]) -> Replacement | None:
    end = number_end(match, is_iban)
    if end is None or iban.compact(match.string[match.start() : end]) == iban.compact(IBAN):
        return None
    return Replacement(IBAN, end)


CREDIT_CARDS = PersonalDataKind(
    rf"[2-6][0-9]{{13}}|[2-6][0-9]{{3}}{_GROUP}[0-9]{{4}}{_GROUP}[0-9]{{4}}{_GROUP}|3[0-9]{{3}}{_GROUP}[0-9]{{6}}{_GROUP}[0-9]{{4}}",
    (Detector(_CARD, _card),),
)
IBANS = PersonalDataKind(
    rf"[A-Z]{{2}}[0-9]{{2}}[{SPACE}]?[A-Z0-9]{{4}}[{SPACE}]?[A-Z0-9]{{4}}[{SPACE}]?[A-Z0-9]{{3}}",
    (Detector(_IBAN, _iban),),
)
