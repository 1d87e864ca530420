"""Configuration of the stage `ingest`."""

from __future__ import annotations

from pydantic import PositiveInt

from gptoss.config.section import Fraction, Section


class IngestConfig(Section):
    max_reject_fraction: Fraction
    documents_per_file: PositiveInt
