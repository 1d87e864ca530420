"""MMLU (Hendrycks et al. 2021): a question of one of 57 subjects with four answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from gptoss.eval_items.item_format import INTEGER, STRING, STRINGS, ItemFormat, Row, join_lines


def from_hub(row: Mapping[str, Any]) -> Row:
    """A row of cais/mmlu."""
    return {
        "question": row["question"],
        "subject": row["subject"],
        "choices": list(row["choices"]),
        "answer": int(row["answer"]),
    }


FORMAT = ItemFormat(
    label="MMLU",
    schema=pa.schema({"question": STRING, "subject": STRING, "choices": STRINGS, "answer": INTEGER}),
    from_hub=from_hub,
    # Question and choices occur together on quiz pages; the subject is not part of the item.
    contamination_text=lambda row: join_lines(row["question"], *row["choices"]),
    chance=0.25,
)
