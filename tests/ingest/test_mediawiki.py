"""MediaWiki dumps: which pages become documents, and what hostile ones come to."""

from __future__ import annotations

import bz2
import io
import re
from collections import Counter
from pathlib import Path

import pytest

from gptoss.config.source import SourceConfig
from gptoss.formats import mediawiki, mediawiki_xml
from gptoss.formats.records import Document, Rejection, Skip
from gptoss.sources.streams import BytesIterator
from tests.ingest.conftest import dump, page, prose
from tests.ingest.reading import read, texts

MARKUP = """\
{{Infobox|name={{nested|x}}}}
'''River''' (''Latin'': {{lang|la|flumen}}; {{IPAc-en|r}}) is a [[stream|stream]] of [[water]]s.&lt;ref&gt;x&lt;/ref&gt;
It is {{convert|10|km|mi}} long&lt;!-- hidden --&gt; and flows at &lt;math&gt;v = x^{{2}}&lt;/math&gt;.[http://a.b x]

{| class="wikitable"
| cell {{t|}} || [[x]]
{| nested
|}
|}
== Course ==
* first [[File:a.jpg|thumb|A [[caption]]]]item
* second
=== Empty ===
== Sources ==
&lt;references/&gt;
{{reflist}}
[[Kategorie:Rivers]] [[Category:Water]] [[de:Fluss]] __NOTOC__"""


def test_wikitext_becomes_prose(a_source: SourceConfig) -> None:
    (record,), damage = read(mediawiki.read, dump(page("River", 12, MARKUP)), a_source)
    assert isinstance(record, Document)
    assert not damage
    assert record.text == (
        "River\n\nRiver (Latin: flumen) is a stream of waters.\nIt is 10 km long and flows at $v = x^{{2}}$.x\n\n"
        "Course\n\n- first item\n- second"
    )
    assert record.url == "https://test.example/?curid=12"
    assert record.meta == {"page_id": "12", "revision_id": "129", "timestamp": "2020-01-01T00:00:00Z"}


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


def test_hostile_xml_is_refused(a_source: SourceConfig) -> None:
    bomb = b'<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + dump(page("A", 1, "&b;"))
    assert read(mediawiki.read, bomb, a_source)[1] == "XML declares a document type, which no MediaWiki export does"
    assert "not a MediaWiki export" in read(mediawiki.read, b"plain text", a_source)[1]
    assert "malformed" in read(mediawiki.read, dump(page("A", 1, "x</wrong>")), a_source)[1]


@pytest.mark.parametrize(
    "markup", ["{{" * 3000, "[[" * 3000, "{|\n" * 2000 + "x", "<b>" * 2000, "'''''" * 2000, "(" * 5000]
)
def test_pathological_wikitext_neither_hangs_nor_crashes(markup: str, a_source: SourceConfig) -> None:
    (record,), damage = read(mediawiki.read, dump(page("A", 1, markup.replace("<", "&lt;"))), a_source)
    assert not damage
    assert isinstance(record, Document | Rejection)


def test_real_wikipedia_dump(shared: Path, a_source: SourceConfig) -> None:
    raw = (shared / "corpora/wikipedia/enwiki-pages-articles-shortened.xml.bz2").read_bytes()
    records, damage = read(mediawiki.read, raw, a_source)
    found = Counter(type(record).__name__ for record in records)
    assert (found, damage) == ({"Document": 98, "Skip": 108}, "")
    everything = "\n".join(texts(records))
    assert not re.search(r"'''|\[\[|\]\]|\{\||</?ref|^\s*\|", re.sub(r"\$.*?\$", "", everything), re.MULTILINE)
    assert 2_700_000 < len(everything) < 3_200_000


def test_reading_holds_one_record_at_a_time(a_source: SourceConfig) -> None:
    """A dump of 100 MB streams by without ever being in memory."""
    import tracemalloc

    head, _, tail = dump(page("A", 1, "w" * 1_000_000, namespace=1)).partition(b"<page>")
    one = b"<page>" + tail.removesuffix(b"</mediawiki>\n")
    stream = io.BufferedReader(BytesIterator(iter([head, *([one] * 100), b"</mediawiki>\n"])))
    tracemalloc.start()
    count = sum(1 for _ in mediawiki.read(stream, "raw.file", a_source))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100
    assert peak < 10 * len(one)


@pytest.mark.parametrize("markup", [
    "{{a|" * 3000 + "x" + "}}" * 3000, "[[a|" * 3000 + "x" + "]]" * 3000, ", " * 100_000 + "x", "= a " * 100_000,
    "<ref>" * 100_000, "<table>" * 20_000 + "x" + "</table>" * 20_000, "http://," * 50_000, "(" + " " * 200_000 + "x",
    "x {|" * 500_000,
])  # fmt: skip
def test_long_and_deep_markup_takes_linear_time(markup: str, a_source: SourceConfig) -> None:
    """Quadratic time would be minutes."""
    records, damage = read(mediawiki.read, dump(page("A", 1, markup.replace("<", "&lt;"))), a_source)
    assert (len(records), damage) == (1, "")


@pytest.mark.parametrize("encoding", ["big5", "utf-32", "shift_jis", "no-such-encoding"])
def test_an_encoding_that_cannot_be_read_is_damage(a_source: SourceConfig, encoding: str) -> None:
    raw = f'<?xml version="1.0" encoding="{encoding}"?>'.encode() + dump(page("A", 1, prose(1)))
    records, damage = read(mediawiki.read, raw, a_source)
    assert not records
    assert "not a MediaWiki export" in damage


def test_what_is_not_markup_is_kept(a_source: SourceConfig) -> None:
    markup = (
        "a &lt;nowiki&gt;[[b]] {{c}} '''d'''&lt;/nowiki&gt; e&lt;ref name=x /&gt; f &lt;code&gt;g&lt;/code&gt; 5 "
        "&amp;lt; 6 &lt;ref&gt;unclosed h {{nowrap|1=i}} [[Foo|j]]s [[k]]l {{lang|de|{{sic|m}}}}\n----\n;n: o\n*# p"
    )
    (record,), _ = read(mediawiki.read, dump(page("T", 1, markup)), a_source)
    assert isinstance(record, Document)
    assert record.text == "T\n\na [[b]] {{c}} '''d''' e f g 5 < 6 unclosed h i js kl m\n\nn: o\n- p"


def test_bombs_of_xml(a_source: SourceConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mediawiki_xml, "MAX_TEXT", 1000)
    monkeypatch.setattr(mediawiki_xml, "MAX_TAG", 1 << 17)
    records, damage = read(mediawiki.read, dump(page("A", 1, "x" * 2000), page("B", 2, prose(2))), a_source)
    assert ([getattr(record, "reason", "") for record in records], damage) == (["too long", ""], "")
    assert "nested more than" in read(mediawiki.read, b"<mediawiki>" + b"<a>" * 100, a_source)[1]
    assert "a tag of more" in read(mediawiki.read, b"<mediawiki><a b='" + b"x" * (1 << 19), a_source)[1]
    late = dump(page("A", 1, prose(1))).replace(b"</page>", b"</page><!DOCTYPE x [<!ENTITY a 'b'>]>")
    assert len(read(mediawiki.read, late, a_source)[0]) == 1


def test_encodings_namespaced_dumps_and_whole_histories(a_source: SourceConfig) -> None:
    head, _, rest = dump(page("Ä", 1, prose(1))).decode().partition("<revision>")
    history = f"{head}<revision><id>1</id><text>{{{{old}}}} text</text></revision><revision>{rest}"
    for raw in (history.encode("utf-16"), bz2.compress(history[:300].encode()) + bz2.compress(history[300:].encode())):
        (record,), damage = read(mediawiki.read, raw, a_source)
        assert isinstance(record, Document)
        assert (record.text, damage, record.locator) == (f"Ä\n\n{prose(1)}", "", "page 1")
