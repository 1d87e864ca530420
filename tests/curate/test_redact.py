"""Redaction: what must go, what must stay, and hostile input."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.curate.redact import EMAIL, IPV4, IPV6, redact, redact_emails, redact_ips


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Write to jane.doe+news@mail.acme.co.uk.", f"Write to {EMAIL}."),
        ("<mailto:a@b.org>", f"<mailto:{EMAIL}>"),
        ("A@B.ORG and c_d@e-f.net", f"{EMAIL} and {EMAIL}"),
        ("naïve.jane@acme.org", f"naï{EMAIL}"),
    ],
)
def test_emails_are_replaced(text: str, redacted: str) -> None:
    assert redact_emails(text)[0] == redacted


@pytest.mark.parametrize(
    "text",
    [
        "user@localhost",
        "@handle and @other.name",
        "a @ b.org",
        "x@y",
        "me@example.com",
        "f(a)@b",
        "5@7.9",
        "@decorator.method",
    ],
)
def test_what_is_no_email_stays(text: str) -> None:
    assert redact_emails(text) == (text, 0)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("from 8.8.8.8.", f"from {IPV4}."),
        ("http://142.250.74.46:8080/x", f"http://{IPV4}:8080/x"),
        ("talk) 81.2.69.142 10:00", f"talk) {IPV4} 10:00"),
        ("at 2a00:1450:4001:81b::200e now", f"at {IPV6} now"),
        ("[2606:4700:4700::1111]:53", f"[{IPV6}]:53"),
    ],
)
def test_public_addresses_are_replaced(text: str, redacted: str) -> None:
    assert redact_ips(text) == (redacted, 1)


@pytest.mark.parametrize(
    "text",
    [
        "192.168.0.1 10.1.2.3 172.16.5.5 127.0.0.1 0.0.0.0 255.255.255.255 169.254.1.1 224.0.0.251",  # not public
        "fe80::1 ::1 fc00::1 2001:db8::7",
        "256.1.2.3 1.2.3 1.2.3.4.5 1..2.3.4 8.8.8.8888",  # not addresses
        "version 1.2.3.4, v4.3.2.1, Release 4.5.6.7, section 3.2.1.4, §1.2.3.4",  # numbered things
        "at 12:30:45 std::vector a::b 2021:11:12 3000: 4",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert redact_ips(text) == (text, 0)


def test_a_batch_is_counted_and_only_wanted_kinds_are_touched() -> None:
    texts = pa.array(["a@b.org a@b.org", "8.8.8.8", "", "plain"], pa.large_string())
    redacted, counts = redact(texts, ("email", "ip"))
    assert redacted.to_pylist() == [f"{EMAIL} {EMAIL}", IPV4, "", "plain"]
    assert counts == {"email": 2, "ip": 1}
    assert redact(texts, ("ip",))[0].to_pylist()[0] == "a@b.org a@b.org"
    assert redact(texts, ()) == (texts, {})


@given(st.text(alphabet=st.sampled_from("ab1.@:-_ 82f0§é"), max_size=60))
def test_redacting_twice_changes_nothing(text: str) -> None:
    once, _ = redact(pa.array([text], pa.large_string()), ("email", "ip"))
    twice, counts = redact(once, ("email", "ip"))
    assert twice.equals(once)
    assert counts == {"email": 0, "ip": 0}


@pytest.mark.parametrize(
    "unit", ["a", "a.", "a@", "a@b.", "a-", "1.", "1.2.3.", "2000:", "f:", "@", "x@a.a.a.a.a.a.", "9" * 50 + "."]
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    text = pa.array([("8.8.8.8 a@b.c " + unit * (500_000 // len(unit)))], pa.large_string())
    start = time.process_time()
    redact(text, ("email", "ip"))
    assert time.process_time() - start < 2
