"""MediaWiki dumps: which pages become documents."""

from __future__ import annotations

import bz2
import re
from collections import Counter
from pathlib import Path

from gptoss.config.source import SourceConfig
from gptoss.formats import mediawiki
from gptoss.formats.records import Document, Rejection, Skip
from tests.formats.run_reader import read, texts
from tests.raw_files import dump, page, prose


def test_only_articles_become_documents(a_source: SourceConfig) -> None:
    raw = dump(
        page("A", 1, prose(1)),
        page("B", 2, "x", inside='<redirect title="A" />'),
        page("C (disambiguation)", 3, prose(3)),
        page("D", 4, "'''D''' may refer to {{disambiguation}}"),
        page("Talk:A", 5, prose(5), namespace=1),
        page("E", 6, ""),
        page("F", 7, "#REDIRECT [[A]]"),
        page("G", 8, "{{only a template}}"),
    )
    records, damage = read(mediawiki.read, raw, a_source)
    assert not damage
    assert texts(records) == [f"A\n\n{prose(1)}", ""]
    skips = Counter(record.reason for record in records if isinstance(record, Skip))
    assert skips == {"redirect": 2, "disambiguation": 2, "not an article": 1}
    assert [record.locator for record in records if isinstance(record, Rejection)] == ["page 6"]


def test_truncated_dump_keeps_the_pages_before(a_source: SourceConfig) -> None:
    raw = dump(*(page(f"P{i}", i, prose(i, 200)) for i in range(1, 30)))
    for cut in (raw[: len(raw) // 2], bz2.compress(raw, 1)[:-20], raw[: -len("</mediawiki>\n")]):
        records, damage = read(mediawiki.read, cut, a_source)
        assert texts(records)[0].startswith("P1\n\n")
        assert len(texts(records)) == len(re.findall(b"</page>", cut)) or cut[:3] == b"BZh"
        assert "cut off" in damage


def test_real_wikipedia_dump(shared: Path, a_source: SourceConfig) -> None:
    raw = (shared / "corpora/wikipedia/enwiki-pages-articles-shortened.xml.bz2").read_bytes()
    records, damage = read(mediawiki.read, raw, a_source)
    found = Counter(type(record).__name__ for record in records)
    assert (found, damage) == ({"Document": 98, "Skip": 108}, "")
    everything = "\n".join(texts(records))
    assert not re.search(r"'''|\[\[|\]\]|\{\||</?ref|^\s*\|", re.sub(r"\$.*?\$", "", everything), re.MULTILINE)
    assert 2_700_000 < len(everything) < 3_200_000


def test_encodings_namespaced_dumps_and_whole_histories(a_source: SourceConfig) -> None:
    head, _, rest = dump(page("Ä", 1, prose(1))).decode().partition("<revision>")
    history = f"{head}<revision><id>1</id><text>{{{{old}}}} text</text></revision><revision>{rest}"
    for raw in (history.encode("utf-16"), bz2.compress(history[:300].encode()) + bz2.compress(history[300:].encode())):
        (record,), damage = read(mediawiki.read, raw, a_source)
        assert isinstance(record, Document)
        assert (record.text, damage, record.locator) == (f"Ä\n\n{prose(1)}", "", "page 1")
