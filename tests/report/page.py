"""A parsed HTML page: what it loads, what it runs, its ids and its text."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a page loads, what it runs, and whether every element is closed."""

    VOID = frozenset({"meta", "br", "img", "hr", "input", "rect", "link"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.runs: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attributes)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.ids += [value for name, value in attributes if name == "id" and value]
        self.loads += [
            f"{tag} {name}={value}"
            for name, value in attributes
            if name.split(":")[-1] in ("src", "href", "srcset", "data", "action", "poster")
            and tag != "a"
            and not (value or "").startswith("#")
        ]
        self.runs += [tag] * (tag in ("script", "iframe", "object", "embed", "base", "form"))
        self.runs += [name for name in values if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.text.append(data)
