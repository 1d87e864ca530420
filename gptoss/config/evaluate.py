"""Configuration of the stage `evaluate`."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from gptoss.config.section import Section


class EvaluateConfig(Section):
    suites: tuple[Literal["smoke", "language", "gpt4"], ...]
    limit: PositiveInt | None
    """Items a task; null for all. A limited row says so."""
    batch_size: PositiveInt
    max_new_tokens: PositiveInt
    execute_code: bool
    """Run code the model wrote (HumanEval), in the sandbox only."""
    ngram_baseline_bytes: PositiveInt
    """Training text for the byte n-gram baselines, from the same shards."""
    prompts: tuple[str, ...]
    """Beginnings that the base model continues, for the report."""
    questions: tuple[str, ...]
    """Questions that the Instruct model answers, for the report."""
