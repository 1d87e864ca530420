"""`evals/pins.yaml`: the expected content of every evaluated split that does not ship with the project.

A pin is the SHA-256 of the frozen rows (`items.content_sha256`), so that hub, mirror and packages cannot differ
unnoticed. A split may have several pins, where one source holds fewer items or another spelling of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gptoss.config.section import Section
from gptoss.config.yaml_sections import check, load_yaml
from gptoss.core.errors import DataError
from gptoss.eval_items.items import content_sha256

PATH = Path("evals/pins.yaml")


class Pin(Section):
    """One content that a split may have."""

    rows: int
    sha256: str | None
    """None: the number of rows is known, but their hash could not be verified when the pin was written."""
    note: str = ""


class Pins(Section):
    """By `SUITE/TASK/SUBSET/SPLIT`. A split that is not listed (a user's own suite) may have any content."""

    splits: dict[str, tuple[Pin, ...]]


def load() -> Pins:
    """Read and check `evals/pins.yaml`. Raises `UserError`."""
    return check(Pins, load_yaml(PATH), origin=str(PATH))


def verify(pins: Pins, split: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The content hash of a split. Raises `DataError` if the split is pinned and no pin matches."""
    content = content_sha256(rows)
    # A pin without a hash accepts any content of its length: better than to reject what could not be verified.
    known = pins.splits.get(split, ())
    if known and not any(pin.sha256 in (content, None) and pin.rows == len(rows) for pin in known):
        expected = " or ".join(f"{pin.rows} items with content {pin.sha256}" for pin in known)
        raise DataError(
            f"{split} has {len(rows)} items with content {content}; {PATH} pins {expected}",
            "restore the unchanged data set; if the change is intended, write the new content into the pins",
        )
    return content
