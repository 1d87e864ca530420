"""MMLU (Hendrycks et al. 2021): a question of one of 57 subjects with four answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from gptoss.eval_items.item_format import STRINGS, ItemFormat, Row, join_lines


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
    schema=pa.schema(
        [("question", pa.string()), ("subject", pa.string()), ("choices", STRINGS), ("answer", pa.int64())]
    ),
    from_hub=from_hub,
    contamination_text=lambda row: join_lines(row["question"], *row["choices"]),
    chance=0.25,
)
