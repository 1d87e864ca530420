"""Numbers and hostile text in readable form."""

from __future__ import annotations

import pytest

from gptoss.core import formatting


def test_a_repository_page_of_markdown_shows_text_as_it_is() -> None:
    assert formatting.cell("a|b *c* <d> [e](f) `g` &lt; snake_case _h_") == (
        r"a\|b \*c\* &lt;d&gt; \[e\](f) \`g\` &amp;lt; snake_case \_h\_"
    )
    assert formatting.quote("# one\n\n- two\n3. three") == "> \\# one\\\n>\n> \\- two\\\n> 3\\. three"
    assert formatting.code("a`b") == "``a`b``"


def test_plain_text_shows_what_would_hide() -> None:
    assert formatting.plain("a\x1b[31m\u202eb\ud800\n\t\x85") == "a\u241b[31m\ufffdb\ufffd\n\t\ufffd"
    assert formatting.plain("e" + "\u0301" * 40) == "e" + "\u0301" * 3
    assert formatting.plain("naïve 中文 👩‍👧 שלום") == "naïve 中文 👩‍👧 שלום"


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (99_960, "100 kB"), (999_600, "1 MB"), (40e9, "40 GB")],
)
def test_sizes(number: float, shown: str) -> None:
    assert formatting.size(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.31, "0.3 s"),
        (9.96, "10 s"),
        (59.7, "1 min 00 s"),
        (75.2, "1 min 15 s"),
        (3599.9, "1 h 00 min"),
        (2e5, "2 d 08 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert formatting.duration(seconds) == shown
