"""GSM8K (Cobbe et al. 2021): a word problem with a worked solution."""

from __future__ import annotations

from gptoss.eval_items.item_format import ItemFormat, join_lines, select, strings

SCHEMA = strings("question", "answer")

FORMAT = ItemFormat(
    label="GSM8K",
    schema=SCHEMA,
    from_hub=lambda row: select(row, SCHEMA),
    # With the worked solution: it is what a model would have memorized.
    contamination_text=lambda row: join_lines(row["question"], row["answer"]),
)
