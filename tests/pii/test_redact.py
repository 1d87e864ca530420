"""Redaction: what is replaced, what is kept, and hostile input."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss.pii.contact import EMAIL, IPV4, IPV6
from gptoss.pii.national_ids import CODICE_FISCALE, DNI, IDNR, NIE, NINO, NIR, SSN
from gptoss.pii.payment import CREDIT_CARD, IBAN
from gptoss.pii.phones import PHONE
from gptoss.pii.redact import redact
from gptoss.pii.registry import KINDS

REPLACED = {
    "email": [
        ("Write to jane.doe+news@mail.acme.co.uk.", f"Write to {EMAIL}."),
        ("<mailto:a@b.org>", f"<mailto:{EMAIL}>"),
        ("A@B.ORG and c_d@e-f.net", f"{EMAIL} and {EMAIL}"),
        ("naïve.jane@acme.org", f"naï{EMAIL}"),
    ],
    "ip": [
        ("from 8.8.8.8.", f"from {IPV4}."),
        ("http://142.250.74.46:8080/x", f"http://{IPV4}:8080/x"),
        ("talk) 81.2.69.142 10:00", f"talk) {IPV4} 10:00"),
        ("at 2a00:1450:4001:81b::200e now", f"at {IPV6} now"),
        ("[2606:4700:4700::1111]:53", f"[{IPV6}]:53"),
    ],
    "phone": [
        ("call +44 20 7946 0018 now", f"call {PHONE} now"),
        ("+12125551234", PHONE),
        ("+1 (212) 555-1234.", f"{PHONE}."),
        ("(212) 555-1234 or 212-555-1234, 212.555.1234", f"{PHONE} or {PHONE}, {PHONE}"),
        ("1-212-555-1234", PHONE),
        ("+49 (0)30 901820", PHONE),
        ("+44 20 7946 0018 2019 was", f"{PHONE} 2019 was"),
        ("in London 020 7946 0018,", f"in London {PHONE},"),
        ("à Paris 01 42 68 53 00", f"à Paris {PHONE}"),
        ("(030) 901820 und", f"{PHONE} und"),
        ("Tel. 030 901820", f"Tel. {PHONE}"),
        ("Téléphone : 01.42.68.53.00", f"Téléphone : {PHONE}"),
        ("Phone: 212 555 1234", f"Phone: {PHONE}"),
        ("Fax\u00a0+41\u00a044\u00a0668\u00a018\u00a000", f"Fax\u00a0{PHONE}"),
    ],
    "credit_card": [
        ("4012 8888 8888 1881", CREDIT_CARD),  # Visa
        ("card 4012888888881881.", f"card {CREDIT_CARD}."),
        ("5555-5555-5555-4444", CREDIT_CARD),  # Mastercard
        ("2223003122003222", CREDIT_CARD),
        ("3782 822463 10005", CREDIT_CARD),  # American Express
        ("6011111111111117", CREDIT_CARD),  # Discover
        ("30569309025904", CREDIT_CARD),  # Diners Club
        ("3530111333300000", CREDIT_CARD),  # JCB
    ],
    "iban": [
        ("DE89 3704 0044 0532 0130 00", IBAN),
        ("DE89370400440532013000 and", f"{IBAN} and"),
        ("FR14 2004 1010 0505 0001 3M02 606 NOW", f"{IBAN} NOW"),
        ("NL91 ABNA 0417 1643 00 DE89 3704 0044 0532 0130 00", f"{IBAN} {IBAN}"),
    ],
    "national_id": [
        ("SSN 123-45-6789", f"SSN {SSN}"),
        ("social security number: 123 45 6789", f"social security number: {SSN}"),
        ("AB 12 34 56 C", NINO),
        ("NI number AB123456C", f"NI number {NINO}"),
        ("Steuer-ID: 36574261809", f"Steuer-ID: {IDNR}"),
        ("IdNr. 36 574 261 809", f"IdNr. {IDNR}"),
        ("DNI 54362315K, 54.362.315-K", f"DNI {DNI}, {DNI}"),
        ("X-2482300W", NIE),
        ("2 95 10 99 126 111 93", NIR),
        ("295109912611193", NIR),
        ("RCCMNL83S18D969H", CODICE_FISCALE),
    ],
}

KEPT = {
    "email": "user@localhost|@handle and @other.name|a @ b.org|x@y|me@example.com|f(a)@b|5@7.9|@decorator.method",
    "ip": (
        "192.168.0.1 10.1.2.3 172.16.5.5 127.0.0.1 0.0.0.0 255.255.255.255 169.254.1.1 224.0.0.251"  # not public
        "|fe80::1 ::1 fc00::1 2001:db8::7|256.1.2.3 1.2.3 1.2.3.4.5 1..2.3.4 8.8.8.8888"
        "|version 1.2.3.4, v4.3.2.1, Release 4.5.6.7, section 3.2.1.4, §1.2.3.4"
        "|at 12:30:45 std::vector a::b 2021:11:12 3000: 4"
    ),
    "phone": (
        "01 02 03 04 05|drawn: 05 12 23 34 45|ISBN 0-306-40615-2|978-3-16-148410-0|arXiv:2101.12345v2|1914-1918"
        "|pp. 212-555|1,234,567,890|2020-10-12 10:20|123 456 7890|212 555 1234|3.141592653589793|x = -212.555.1234"
        "|doi:10.1000/212.555.1234|555-0100|+1 202-555-0142|+1 million|a+14155552671|tel aviv 1948 2000"
        "|+5 000 000 000|0123 45678|1800 1900 2000 2100|0049 3012 3456 7890|2.5 + 1 212"
    ),
    "credit_card": (
        "4012888888881882|0.4012888888881881|$4012888888881881|4006381333931|1234567812345670|9792888888881881"
        "|ISBN 9783161484100|4012 88888888 1881|4012 8888 8888 1881 1234|20200101123000"
    ),
    "iban": "DE89 3704 0044 0532 0130 01|AB12 CDEF GHIJ KLMN|XX89 3704 0044 0532 0130 00|DE89",
    "national_id": (
        "000-12-3456|666-12-3456|900-12-3456|123-00-4567|123-45-0000|123456789|12-345-6789|AB123456C|BG 12 34 56 C"
        "|AB 12 34 56 E|36574261809|36 574 261 809|54362315L|X2482300A|295109912611194|RCCMNL83S18D969A"
    ),
}


def redacted(text: str, *kinds: str) -> tuple[str, dict[str, int]]:
    result = redact(pa.array([text], pa.large_string()), kinds or tuple(KINDS))
    return str(result.texts[0].as_py()), {
        kind: int(numbers[0]) for kind, numbers in result.counts.items() if numbers[0]
    }


@pytest.mark.parametrize(("kind", "text", "clean"), [(kind, *each) for kind in REPLACED for each in REPLACED[kind]])
def test_personal_data_is_replaced_and_counted(kind: str, text: str, clean: str) -> None:
    values = (EMAIL, IPV4, IPV6, PHONE, CREDIT_CARD, IBAN, SSN, NINO, IDNR, DNI, NIE, NIR, CODICE_FISCALE)
    assert redacted(text) == (clean, {kind: sum(map(clean.count, values))})
    assert redacted(clean) == (clean, {})


@pytest.mark.parametrize("text", [text for texts in KEPT.values() for text in texts.split("|")])
def test_other_numbers_and_marks_are_kept(text: str) -> None:
    assert redacted(text) == (text, {})


def test_a_batch_is_counted_and_only_wanted_kinds_are_touched() -> None:
    texts = pa.array(["a@b.org\na@b.org", None, "8.8.8.8", "", "plain"], pa.large_string())
    result = redact(texts, ("email", "ip"))
    assert result.texts.to_pylist() == [f"{EMAIL}\n{EMAIL}", None, IPV4, "", "plain"]
    assert {kind: numbers.tolist() for kind, numbers in result.counts.items()} == {
        "email": [2, 0, 0, 0, 0], "ip": [0, 0, 1, 0, 0],
    }  # fmt: skip
    assert redact(texts, ("ip",)).texts.to_pylist()[0] == "a@b.org\na@b.org"
    assert redact(texts, ()).texts is texts


PIECES = [text for cases in REPLACED.values() for text, _ in cases] + [
    ".",
    " ",
    "\n",
    "1",
    "+",
    "a",
    "Tel. ",
    "@x.org",
    "(",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text("ab1.@:-_ 82f0§é+()4\n", max_size=60))
def test_redacting_twice_changes_nothing_and_keeps_lines(text: str) -> None:
    once, _ = redacted(text)
    assert redacted(once) == (once, {})
    assert once.count("\n") == text.count("\n")


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text("ab1.@:-_ 82f0§é+()4", max_size=60))
def test_the_prefilter_misses_nothing_that_a_detector_replaces(text: str) -> None:
    for line in text.split("\n"):
        for name, kind in KINDS.items():
            matches = pc.match_substring_regex(pa.array([line]), kind.prefilter)[0].as_py()
            assert matches or kind.replace(line) == (line, 0), name


@pytest.mark.parametrize(
    "unit",
    ["a", "a.", "a@", "a@b.", "a-", "1.", "1.2.3.", "2000:", "f:", "@", "x@a.a.a.a.a.a.", "9" * 50 + ".", "4", "4 ",
     "0123 ", "+1", "+1 ", "(0", "DE89 ", "A1", "tel 0", "123-45-", "X1234567"],
)  # fmt: skip
def test_hostile_text_is_searched_in_linear_time(unit: str) -> None:
    """Quadratic search of this much text would take hours."""
    held = "8.8.8.8; a@b.org; tel 020 7946 0018; 4012888888881881; 123-45-6789; DE89370400440532013000; "
    clean, found = redacted(held + unit * (200_000 // len(unit)))
    assert {kind: found[kind] for kind in KINDS} == dict.fromkeys(KINDS, 1)
    assert clean.endswith(unit * 1_000)
