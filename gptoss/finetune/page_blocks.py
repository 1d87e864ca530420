"""The text of an HTML page in blocks: headings, questions, and prose, each word once.

Every text node is used: the text of an element beside its children (a rule above a list of its exceptions, plain text
in a `<div>` or after a `<summary>`) is a block of its own. Scripts, styles and menus are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from resiliparse.parse.html import NodeType

ASKING = {f"h{level}": "heading" for level in range(1, 7)} | {"dt": "question", "summary": "question"}
# Elements within a line; any other element ends the block before it.
INLINE = {
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins",
    "kbd", "label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u",
    "var", "wbr",
}  # fmt: skip
SKIPPED = {"head", "iframe", "nav", "noscript", "object", "script", "select", "style", "svg", "template", "title"}


def blocks(body: Any, asking: Mapping[str, str] = ASKING) -> Iterator[tuple[str, str]]:
    """`(heading | question | prose, text)` in the order of the page. `asking` maps elements that are not prose to their
    kind."""
    pieces: list[str] = []
    for kind, text in _events(body, asking):
        if kind == "text":
            pieces.append(text)
            continue
        if prose := " ".join("".join(pieces).split()):
            yield "prose", prose
        pieces = []
        if text:
            yield kind, text


def _events(body: Any, asking: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Text nodes, borders of blocks, and whole headings and questions."""
    border = ("border", "")
    # A stack in place of recursion: pages may nest deeper than Python's recursion limit.
    stack: list[Any] = [body]
    while stack:
        node = stack.pop()
        if node is border:
            yield border
        elif node.type == NodeType.TEXT:
            yield "text", node.value
        elif node.type != NodeType.ELEMENT or node.tag in SKIPPED:
            continue
        elif node.tag in asking:
            # Without `asking`: a heading inside of a question is part of its text.
            yield asking[node.tag], " ".join(text for _, text in blocks(node, asking={}))
        elif node.tag in INLINE:
            stack += reversed(node.child_nodes)
        else:
            yield border
            stack += [border, *reversed(node.child_nodes)]
