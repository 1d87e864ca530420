"""WinoGrande's sentence, cut at the blank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def beginnings(item: Mapping[str, Any]) -> list[str]:
    """The sentence up to the blank, filled with each option."""
    before, _, _ = item["sentence"].partition("_")
    return [before + option for option in item["options"]]


def rest(item: Mapping[str, Any]) -> str:
    """What follows the blank."""
    _, _, after = item["sentence"].partition("_")
    return str(after.strip())
