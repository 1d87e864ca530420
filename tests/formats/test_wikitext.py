"""Wikitext to text: markup, holes that it leaves, and hostile markup."""

from __future__ import annotations

import pytest

from gptoss.config.source import SourceConfig
from gptoss.formats import mediawiki
from gptoss.formats.records import Document, Rejection
from tests.formats.run_reader import read
from tests.raw_files import dump, page

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


def test_wikitext_becomes_running_text(a_source: SourceConfig) -> None:
    (record,), damage = read(mediawiki.read, dump(page("River", 12, MARKUP)), a_source)
    assert isinstance(record, Document)
    assert not damage
    assert record.text == (
        "River\n\nRiver (Latin: flumen) is a stream of waters.\nIt is 10 km long and flows at $v = x^{{2}}$.x\n\n"
        "Course\n\n- first item\n- second"
    )
    assert record.url == "https://test.example/?curid=12"
    assert record.meta == {"page_id": "12", "revision_id": "129", "timestamp": "2020-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "markup", ["{{" * 3000, "[[" * 3000, "{|\n" * 2000 + "x", "<b>" * 2000, "'''''" * 2000, "(" * 5000]
)
def test_pathological_wikitext_neither_hangs_nor_crashes(markup: str, a_source: SourceConfig) -> None:
    (record,), damage = read(mediawiki.read, dump(page("A", 1, markup.replace("<", "&lt;"))), a_source)
    assert not damage
    assert isinstance(record, Document | Rejection)


@pytest.mark.parametrize("markup", [
    "{{a|" * 3000 + "x" + "}}" * 3000, "[[a|" * 3000 + "x" + "]]" * 3000, ", " * 100_000 + "x", "= a " * 100_000,
    "<ref>" * 100_000, "<table>" * 20_000 + "x" + "</table>" * 20_000, "http://," * 50_000, "(" + " " * 200_000 + "x",
    "x {|" * 500_000,
])  # fmt: skip
def test_long_and_deep_markup_takes_linear_time(markup: str, a_source: SourceConfig) -> None:
    """Quadratic time would take minutes."""
    records, damage = read(mediawiki.read, dump(page("A", 1, markup.replace("<", "&lt;"))), a_source)
    assert (len(records), damage) == (1, "")


def test_text_that_is_not_markup_is_kept(a_source: SourceConfig) -> None:
    markup = (
        "a &lt;nowiki&gt;[[b]] {{c}} '''d'''&lt;/nowiki&gt; e&lt;ref name=x /&gt; f &lt;code&gt;g&lt;/code&gt; 5 "
        "&amp;lt; 6 &lt;ref&gt;unclosed h {{nowrap|1=i}} [[Foo|j]]s [[k]]l {{lang|de|{{sic|m}}}}\n----\n;n: o\n*# p"
    )
    (record,), _ = read(mediawiki.read, dump(page("T", 1, markup)), a_source)
    assert isinstance(record, Document)
    assert record.text == "T\n\na [[b]] {{c}} '''d''' e f g 5 < 6 unclosed h i js kl m\n\nn: o\n- p"
