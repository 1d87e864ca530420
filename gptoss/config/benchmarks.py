"""Configuration of the stage `benchmarks`."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from gptoss.config.section import Section


class BenchmarksConfig(Section):
    gpt4: Literal["none", "hub", "mirror", "packages"]
    """Source of the items that are not part of the repository: those of the suite `gpt4`, and LAMBADA."""
    mirror: str = ""
    """For `mirror`: a folder with one folder per data set, as on the hub."""

    @model_validator(mode="after")
    def _mirror_has_a_folder(self) -> BenchmarksConfig:
        if self.gpt4 == "mirror" and not self.mirror:
            raise ValueError("gpt4 is mirror: set benchmarks.mirror to the folder of the mirror")
        return self
