"""The text of a page in blocks: headings, questions, and prose, each word once.

Every text node counts: what an element says beside its children (the rule above a list of exceptions, plain text in a
`<div>` or after a `<summary>`) is a block of its own. Left out is what is not read as text: scripts, styles, menus.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ASKING = {f"h{level}": "heading" for level in range(1, 7)} | {"dt": "question", "summary": "question"}
INLINE = {
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins",
    "kbd", "label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u",
    "var", "wbr",
}  # fmt: skip
"""Elements within a line; any other ends the block before it."""
UNREAD = {"head", "iframe", "nav", "noscript", "object", "script", "select", "style", "svg", "template", "title"}


def blocks(body: Any, asking: Mapping[str, str] = ASKING) -> Iterator[tuple[str, str]]:
    """`(heading | question | prose, text)` in the order of the page; `asking` are the elements that are no prose."""
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
    """Text nodes, borders of blocks, and whole headings and questions. A stack, since pages may nest deeply."""
    from resiliparse.parse.html import NodeType

    border = ("border", "")
    stack: list[Any] = [body]
    while stack:
        node = stack.pop()
        if node is border:
            yield border
        elif node.type == NodeType.TEXT:
            yield "text", node.value
        elif node.type != NodeType.ELEMENT or node.tag in UNREAD:
            continue
        elif node.tag in asking:
            yield asking[node.tag], " ".join(text for _, text in blocks(node, asking={}))
        elif node.tag in INLINE:
            stack += reversed(node.child_nodes)
        else:
            yield border
            stack += [border, *reversed(node.child_nodes)]
