"""Configuration of the stage `shards`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from gptoss.config.section import Section


class ShardsConfig(Section):
    tokens_per_shard: PositiveInt
    validation_fraction: Annotated[float, Field(gt=0.0, lt=0.5)]
