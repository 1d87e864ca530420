"""HumanEval's program, put together (Chen et al. 2021, section 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def no_score(item: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Nothing: a completion is scored by running it, elsewhere."""
    return {}


def program(item: Mapping[str, Any], completion: str) -> str:
    """The problem, the completion and the tests, as one program that raises when a test fails."""
    return f"{item['prompt']}{completion}\n{item['test']}\ncheck({item['entry_point']})\n"
