"""HellaSwag (Zellers et al. 2019): the beginning of a description with four endings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from gptoss.eval_items.item_format import INTEGER, STRING, STRINGS, ItemFormat, Row, join_lines


def from_hub(row: Mapping[str, Any]) -> Row:
    """A row of Rowan/hellaswag, whose label is a string."""
    return {
        "activity_label": row["activity_label"],
        "ctx_a": row["ctx_a"],
        "ctx_b": row["ctx_b"],
        "endings": list(row["endings"]),
        "label": int(row["label"]),  # empty in the test split, which has no public answers
    }


def contamination_text(row: Row) -> str:
    """The beginning with its right ending, then all endings."""
    # The right ending is the source's own text (WikiHow, ActivityNet): n-grams across the border find the source page,
    # those of the endings a copy of the benchmark.
    return join_lines(f"{row['ctx_a']} {row['ctx_b']} {row['endings'][row['label']]}", *row["endings"])


FORMAT = ItemFormat(
    label="HellaSwag",
    schema=pa.schema(
        {"activity_label": STRING, "ctx_a": STRING, "ctx_b": STRING, "endings": STRINGS, "label": INTEGER}
    ),
    from_hub=from_hub,
    contamination_text=contamination_text,
    chance=0.25,
)
