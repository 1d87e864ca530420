"""Configuration of the stage `decontaminate`."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from gptoss.config.section import Section


class DecontaminateConfig(Section):
    ngrams: tuple[PositiveInt, ...]
    policy: Literal["drop", "trim", "mark"]
