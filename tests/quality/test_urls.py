"""Hosts, blocked domains and words of addresses, and licences."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from gptoss.quality.urls import blocked_domains, blocked_words, domain_hashes, hosts, is_licensed


def test_hosts_are_found_in_addresses_only() -> None:
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


def test_licences_match_globs_ignoring_case() -> None:
    licenses = ["http://creativecommons.org/licenses/by/4.0/", "CC0", "cc-by-nc", None]
    assert is_licensed(pa.array(licenses), ["*/licenses/BY/*", "cc0"]).to_pylist() == [True, True, False, False]
