"""Minimal pairs as in BLiMP (Warstadt et al. 2020): a grammatical sentence beside an ungrammatical one."""

from __future__ import annotations

from gptoss.eval_items.item_format import ItemFormat, select, strings

SCHEMA = strings("phenomenon", "good", "bad")

FORMAT = ItemFormat(
    label="Minimal pairs",
    schema=SCHEMA,
    from_hub=lambda row: select(row, SCHEMA),
    # No text has the ungrammatical sentence, so only the grammatical one can be found.
    contamination_text=lambda row: row["good"],
    chance=0.5,  # two sentences per item
)
