"""Configuration of the stage `evaluate`."""

from __future__ import annotations

from pathlib import Path

from pydantic import PositiveInt, field_validator

from gptoss.config.section import Section

SUITES = Path("evals/suites")


def suite_names() -> list[str]:
    """Names of the suites in `evals/suites`, sorted; empty outside the root of a checkout."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


class EvaluateConfig(Section):
    suites: tuple[str, ...]
    """Files of `evals/suites`, without `.yaml`."""
    # For trials: fewer items mean larger standard errors, and versions are only compared at equal numbers of items.
    limit: PositiveInt | None
    """Items per task; null for all. Rows with a limit are marked."""
    batch_size: PositiveInt
    max_new_tokens: PositiveInt
    # Off by default: the code comes from a language model, and namespaces are not a boundary against kernel bugs.
    execute_code: bool
    """Run code that the model wrote (HumanEval), in the sandbox only."""
    ngram_baseline_bytes: PositiveInt
    """Bytes of training text, from the same shards, for the byte n-gram baselines."""
    prompts: tuple[str, ...]
    """Prompts that the base model continues, for the report."""
    questions: tuple[str, ...]
    """Questions that the Instruct model answers, for the report."""

    @field_validator("suites")
    @classmethod
    def _suites_exist(cls, suites: tuple[str, ...]) -> tuple[str, ...]:
        known = suite_names()
        # Outside a checkout nothing can be checked here; loading the suite then fails and names the folder.
        if known and (unknown := [name for name in suites if name not in known]):
            raise ValueError(f"{', '.join(unknown)} is not a file of {SUITES}: choose from {', '.join(known)}")
        return suites
