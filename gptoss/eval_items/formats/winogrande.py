"""WinoGrande (Sakaguchi et al. 2020): a sentence with a blank and two options for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from gptoss.eval_items.item_format import INTEGER, STRING, STRINGS, ItemFormat, Row


def from_hub(row: Mapping[str, Any]) -> Row:
    """A row of allenai/winogrande, whose answer is `1` or `2`."""
    return {
        "sentence": row["sentence"],
        "options": [row["option1"], row["option2"]],
        "answer": ("1", "2").index(row["answer"]),
    }


FORMAT = ItemFormat(
    label="WinoGrande",
    # `options` and `answer`: the names that `harness.describe_choice` expects where the choice is in the prompt.
    schema=pa.schema({"sentence": STRING, "options": STRINGS, "answer": INTEGER}),
    from_hub=from_hub,
    # The whole sentence: with its blank it occurs in no text.
    contamination_text=lambda row: row["sentence"].replace("_", row["options"][row["answer"]]),
    chance=0.5,
)
