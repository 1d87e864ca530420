"""Configuration of the stage `register`."""

from __future__ import annotations

from gptoss.config.section import PositiveFloat, Section


class RegisterConfig(Section):
    # In standard errors of the difference, because scores of small suites vary by several points from run to run.
    max_drop_standard_errors: PositiveFloat
    """A candidate is not promoted when a row of a suite is worse than the champion's by more than this."""
