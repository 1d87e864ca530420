"""HellaSwag (Zellers et al. 2019): the beginning of a description with four endings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from gptoss.eval_items.item_format import STRINGS, ItemFormat, Row, join_lines


def from_hub(row: Mapping[str, Any]) -> Row:
    """A row of Rowan/hellaswag, whose label is a string."""
    return {
        "activity_label": row["activity_label"],
        "ctx_a": row["ctx_a"],
        "ctx_b": row["ctx_b"],
        "endings": list(row["endings"]),
        "label": int(row["label"]),
    }


def contamination_text(row: Row) -> str:
    """The beginning with its right ending first, as a page that was copied from would have it, then all endings."""
    return join_lines(f"{row['ctx_a']} {row['ctx_b']} {row['endings'][row['label']]}", *row["endings"])


FORMAT = ItemFormat(
    label="HellaSwag",
    schema=pa.schema(
        [
            ("activity_label", pa.string()),
            ("ctx_a", pa.string()),
            ("ctx_b", pa.string()),
            ("endings", STRINGS),
            ("label", pa.int64()),
        ]
    ),
    from_hub=from_hub,
    contamination_text=contamination_text,
    chance=0.25,
)
