"""Numbers that states assign to persons, where format and check digits leave little doubt:

- United States, social security number `123-45-6789`, except the ranges that are never issued;
- United Kingdom, National Insurance number `AB 12 34 56 C`;
- Germany, tax number (IdNr), two check rules; Spain, DNI and NIE with their letter; France, NIR with its key;
  Italy, codice fiscale with its check character.

Formats that other numbers share (nine or eleven plain digits, a part number) count only after a word that names them.

References: the check rules are those of python-stdnum. The replacements are never issued: a number reserved for
advertisements (987-65-4320), HMRC's example (QQ …), zeros, and the published example of a codice fiscale.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.it import codicefiscale
from stdnum.us import ssn

from gptoss.pii.detector import SPACE, Detector, PersonalDataKind, Replacement

SSN = "987-65-4320"
NINO = "QQ 12 34 56 C"
IDNR = "00 000 000 000"
DNI = "00000000T"
NIE = "X0000000T"
NIR = "0 00 00 00 000 000 00"
CODICE_FISCALE = "RSSMRA80A01H501U"

_GAP = f"[{SPACE}]?"
_NOT_AFTER = rf"(?<![\w.,+/-].)(?<![0-9][{SPACE}].)"
"""After the first character of an expression, so that the search can skip to that character: no digit, word or sign
precedes it."""
_NOT_BEFORE = rf"(?![\w-]|[.,/]?[0-9]|[{SPACE}][0-9])"
# First letters D, F, I, Q, U, V and the prefixes BG, GB, ... are not issued (HMRC manual, NIM39110).
_NINO = r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z](?<![\w-].)[A-CEGHJ-NPR-TW-Z]"
_NAMED_SSN = r"(?i)(?:\bSSN|\bsocial security(?: (?:number|no\.?|#))?)\W{0,4}(?:is )?\Z"
_NAMED_NINO = r"(?i)(?:\bNINO|\bNI (?:number|no\.?)|\bnational insurance(?: (?:number|no\.?))?)\W{0,4}(?:is )?\Z"
_NAMED_IDNR = (
    r"(?i)(?:\bsteuer-?(?:identifikationsnummer|id(?:entnummer|nr\.?)?|nummer)|\bId-?Nr\.?|\bTIN|\btax (?:id|number))"
    r"\W{0,4}(?:lautet |ist |is )?\Z"
)
_LOOK_BACK = 48  # characters: the longest of these phrases with punctuation


def _number(
    expression: str, is_valid: Callable[[str], bool], replacement: str, *, after: str | None = None
) -> Detector:
    """A detector whose matches are replaced if they are valid, are not the replacement itself, and directly follow text
    that matches `after`, if given."""
    named = re.compile(after) if after else None

    def replacement_of(match: re.Match[str]) -> Replacement | None:
        before = match.string[max(0, match.start() - _LOOK_BACK) : match.start()]
        if (named and not named.search(before)) or match.group() == replacement or not is_valid(match.group()):
            return None
        return Replacement(replacement, match.end())

    return Detector(re.compile(expression), replacement_of)


_PREFILTER = "|".join(
    (
        r"[0-9]{3}-[0-9]{2}-[0-9]{4}",
        rf"[A-Z]{{2}}(?:[{SPACE}][0-9]{{2}}){{3}}[{SPACE}][A-D]",
        r"[0-9]{8}-?[A-Z]|[0-9]{2}\.[0-9]{3}\.[0-9]{3}-?[A-Z]|[XYZ]-?[0-9]{7}-?[A-Z]",
        rf"[12](?:{_GAP}[0-9]{{2}}){{2}}{_GAP}[0-9][0-9AB](?:{_GAP}[0-9]{{3}}){{2}}{_GAP}[0-9]{{2}}",
        r"[A-Z]{6}[0-9L-V]{2}[A-EHLMPRST][0-9L-V]{2}[A-Z]",
        r"(?i:\bSSN|social security|\bNINO|\bNI n|national insurance|steuer|id-?nr|\bTIN|\btax (?:id|number))"
        r"[^0-9\n]{0,24}[0-9]{2}",
    )
)

NATIONAL_IDS = PersonalDataKind(
    _PREFILTER,
    (
        _number(rf"[0-8]{_NOT_AFTER}[0-9]{{2}}-[0-9]{{2}}-[0-9]{{4}}{_NOT_BEFORE}", ssn.is_valid, SSN),
        _number(
            rf"[0-8]{_NOT_AFTER}[0-9]{{2}}{_GAP}[0-9]{{2}}{_GAP}[0-9]{{4}}{_NOT_BEFORE}",
            lambda text: ssn.is_valid(re.sub(r"\D", "", text)),
            SSN,
            after=_NAMED_SSN,
        ),
        # A National Insurance number has no check digit (`bool` accepts every match). In its usual groups it needs no
        # name before it; in other groupings it could be a part number.
        _number(rf"{_NINO}(?:[{SPACE}][0-9]{{2}}){{3}}[{SPACE}][A-D](?!\w)", bool, NINO),
        _number(rf"{_NINO}(?:{_GAP}[0-9]{{2}}){{3}}{_GAP}[A-D](?!\w)", bool, NINO, after=_NAMED_NINO),
        _number(
            rf"[1-9]{_NOT_AFTER}[0-9](?:{_GAP}[0-9]{{3}}){{3}}{_NOT_BEFORE}", idnr.is_valid, IDNR, after=_NAMED_IDNR
        ),
        _number(
            r"[0-9](?<![\w.,+/-].)(?:[0-9]{7}-?|[0-9]\.[0-9]{3}\.[0-9]{3}-?)[A-HJ-NP-TV-Z](?![\w-])",
            lambda text: dni.is_valid(text.replace(".", "")),
            DNI,
        ),
        _number(r"[XYZ](?<![\w.,+/-].)-?[0-9]{7}-?[A-HJ-NP-TV-Z](?![\w-])", nie.is_valid, NIE),
        _number(
            rf"[12]{_NOT_AFTER}{_GAP}[0-9]{{2}}{_GAP}(?:0[1-9]|1[0-2]|[2-9][0-9]){_GAP}[0-9][0-9AB]{_GAP}[0-9]{{3}}{_GAP}"
            rf"[0-9]{{3}}{_GAP}[0-9]{{2}}{_NOT_BEFORE}",
            lambda text: nir.is_valid(text.replace("\u00a0", " ")),
            NIR,
        ),
        _number(
            r"[A-Z](?<!\w.)[A-Z]{5}[0-9L-V]{2}[A-EHLMPRST][0-9L-V]{2}[A-Z][0-9L-V]{3}[A-Z](?!\w)",
            codicefiscale.is_valid,
            CODICE_FISCALE,
        ),
    ),
)
