"""What every section of a configuration file is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]


class Section(BaseModel):
    """A mapping in a configuration file: immutable, and without unknown keys."""

    # strict=False: YAML 1.1 reads 1e-5 as a string, which pydantic then converts to a float.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)
