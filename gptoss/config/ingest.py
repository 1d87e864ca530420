"""Configuration of the stage `ingest`."""

from __future__ import annotations

from pydantic import PositiveInt

from gptoss.config.section import Fraction, Section


class IngestConfig(Section):
    # A few broken records are normal in crawled data; more than this means a wrong format or a damaged download.
    max_reject_fraction: Fraction
    # A file is the unit of parallel work in all later stages, and what one task holds in memory.
    documents_per_file: PositiveInt
