"""Charsets of pages, whatever is declared."""

from __future__ import annotations

import pytest

from gptoss.sources.charsets import decode

TEXTS = {
    "cp1251": "Привет, мир! Это обычный русский текст о реках и морях. ",
    "cp932": "これは日本語の文章です。川は海に流れます。正しく読む必要があります。",
    "iso2022_jp": "これは日本語の文章です。川は海に流れます。",
    "gb18030": "这是一个关于河流和海洋的中文文本，需要正确读取。",
    "cp1252": "Voilà un texte français où l'été est déjà passé, à côté de la forêt. ",
    "utf-16-le": "Plain words of no great length, in wide characters. ",
}


@pytest.mark.parametrize("charset", TEXTS)
@pytest.mark.parametrize("header", [None, "right", "iso-8859-1", "utf-8", "bogus", "base64"])
@pytest.mark.parametrize("head", [None, "right", "utf-8"])
def test_the_charset_is_found_whatever_is_declared(charset: str, header: str | None, head: str | None) -> None:
    declared = {"right": charset}
    meta = f'<meta charset="{declared.get(head, head)}">' if head else ""
    page = f"<html><head>{meta}</head><body><p>{TEXTS[charset] * 3}</p></body></html>"
    assert TEXTS[charset] in decode(page.encode(charset), declared.get(header or "", header))[0]
    assert decode(page.encode("utf-8"), declared.get(header or "", header)) == (page, "utf-8")


def test_broken_characters_do_not_change_the_charset() -> None:
    text = TEXTS["cp1251"] * 20
    broken = text.encode()[:301] + b"\xff" + text.encode()[303:-1]
    decoded, charset = decode(broken, "windows-1251")
    assert charset == "utf-8"
    assert decoded.count("\ufffd") <= 4
    assert decode(b"", None) == ("", "utf-8")
    assert decode(b"\xff\xfea\0b\0", "utf-8") == ("ab", "utf-16-le")
