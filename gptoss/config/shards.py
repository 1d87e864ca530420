"""Configuration of the stage `shards`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from gptoss.config.section import Section


class ShardsConfig(Section):
    # Shards are memory-mapped, so their size matters only for copying and for DVC, which hashes whole files.
    tokens_per_shard: PositiveInt
    # Below one half: a larger share is a mistake, such as 0.9 meant as the training share.
    validation_fraction: Annotated[float, Field(gt=0.0, lt=0.5)]
