"""Configuration of the stage `decontaminate`."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from gptoss.config.section import Section


class DecontaminateConfig(Section):
    """Removal of benchmark items by n-gram overlap (Brown et al. 2020, appendix C)."""

    # Several sizes, as one of 13 words (GPT-3) could never find an item of fewer words.
    ngrams: tuple[PositiveInt, ...]
    """Sizes in words. Each item is searched by the largest size that it has words for."""
    policy: Literal["drop", "trim", "mark"]
    """What happens to a document with an item: `drop` removes it, `trim` removes the sentences with the match, `mark`
    keeps it and names the items in its `meta`."""
