"""Configuration of the stage `register`."""

from __future__ import annotations

from gptoss.config.section import PositiveFloat, Section


class RegisterConfig(Section):
    max_drop_standard_errors: PositiveFloat
    """A candidate is not promoted when a suite row falls below the champion by more than this."""
