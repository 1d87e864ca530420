"""Filters by address, licence and listed words."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest

from gptoss.core.errors import DataError, PipelineError
from gptoss.quality.toxicity import listed_fraction
from gptoss.quality.urls import blocked_domains, blocked_words, domain_hashes, hosts, is_licensed
from gptoss.quality.word_lists import read_list


def test_hosts_are_told_from_what_is_no_address() -> None:
    addresses = ["https://User:pw@WWW.Example.com.:8080/a@b", "ftp://x.org", "Page title", "//x", None, "http:///x", ""]
    assert hosts(pa.array(addresses)).to_pylist() == ["www.example.com", "x.org", "", "", "", "", ""]


def test_a_domain_blocks_its_subdomains_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# comment\nevil.org\n")
    domains = domain_hashes(["Bad.com", f"{tmp_path}/list"])
    addresses = [
        "http://a.b.bad.com/",
        "http://bad.com",
        "http://notbad.com",
        "http://com",
        "bad.com",
        "https://evil.org/x",
    ]
    assert blocked_domains(pa.array(addresses), domains).to_pylist() == [
        "bad.com", "bad.com", None, None, None, "evil.org",
    ]  # fmt: skip
    assert blocked_domains(pa.array([], pa.string()), domains).to_pylist() == []


def test_words_of_an_address_are_whole() -> None:
    addresses = ["http://x.com/Sex/", "http://essex.ac.uk", "http://x.com/free_porn-1", "http://x.com/a+b", None]
    assert blocked_words(pa.array(addresses), ["sex", "porn", "a+b"]).to_pylist() == ["sex", None, "porn", "a+b", None]
    assert blocked_words(pa.array(addresses), []).null_count == len(addresses)


def test_licences_match_globs_whatever_the_case() -> None:
    licenses = ["http://creativecommons.org/licenses/by/4.0/", "CC0", "cc-by-nc", None]
    assert is_licensed(pa.array(licenses), ["*/licenses/BY/*", "cc0"]).to_pylist() == [True, True, False, False]


def test_a_list_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "words"
    file.write_bytes("\ufeffone\r\n\n# no\n two words \n".encode())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert read_list(f"{file}#sha256={digest}") == ["one", "two words"]
    with pytest.raises(DataError, match="pins"):
        read_list(f"{file}#sha256={'0' * 64}")
    with pytest.raises(PipelineError, match="does not exist"):
        read_list(f"{file}.absent")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        read_list(str(file))


def test_listed_words_and_phrases_are_counted_once_each() -> None:
    terms = ["Bad", "very bad thing", "thing very", "naïve"]
    texts = ["A BAD, (very) bad thing.", "badly", "", "very bad", "thing very bad thing", "thing", "very naïve!"]
    shares = listed_fraction(pa.array(texts, pa.large_string()), terms)
    assert shares.tolist() == pytest.approx([4 / 5, 0, 0, 1 / 2, 1, 0, 1 / 2])
    assert listed_fraction(pa.array(["a"], pa.large_string()), []).tolist() == [0.0]
    assert listed_fraction(pa.array([], pa.large_string()), terms).tolist() == []
