"""Configuration of the stage `benchmarks`."""

from __future__ import annotations

from typing import Literal

from gptoss.config.section import Section


class BenchmarksConfig(Section):
    gpt4: Literal["none", "hub", "mirror", "packages"]
    """Where items come from that do not ship with the project: those of the suite `gpt4`, and LAMBADA."""
    mirror: str = ""
    """For `mirror`: a folder with one folder a data set, as on the hub."""
