"""HumanEval (Chen et al. 2021): the head of a Python function with tests of its body."""

from __future__ import annotations

from gptoss.eval_items.item_format import ItemFormat, select, strings

SCHEMA = strings("task_id", "prompt", "canonical_solution", "test", "entry_point")

FORMAT = ItemFormat(
    label="HumanEval",
    schema=SCHEMA,
    from_hub=lambda row: select(row, SCHEMA),
    # Without the tests: prompt and solution are enough to recognise a repository that contains the problems.
    contamination_text=lambda row: row["prompt"] + row["canonical_solution"],
)
