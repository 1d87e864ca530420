"""HellaSwag's prompt: the WikiHow part has brackets as artefacts, which lm-eval's task takes out in this way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def beginning(item: Mapping[str, Any]) -> str:
    """The activity and the unfinished description."""
    return _clean(f"{item['activity_label']}: {item['ctx_a']} {item['ctx_b'].capitalize()}")


def endings(item: Mapping[str, Any]) -> list[str]:
    """The four endings to rank."""
    return [_clean(ending) for ending in item["endings"]]


def shown(item: Mapping[str, Any]) -> str:
    """The beginning with its four endings by letter, to choose from."""
    lines = [f"{letter}. {ending}" for letter, ending in zip("ABCD", endings(item), strict=True)]
    return "\n".join([f"{beginning(item)} …", *lines, "Answer:"])


def _clean(text: str) -> str:
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")
