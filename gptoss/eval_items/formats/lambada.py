"""LAMBADA (Paperno et al. 2016): a passage whose last word only its whole context decides."""

from __future__ import annotations

from gptoss.eval_items.item_format import ItemFormat, select, strings

SCHEMA = strings("text")

FORMAT = ItemFormat(
    label="LAMBADA",
    schema=SCHEMA,
    from_hub=lambda row: select(row, SCHEMA),
    contamination_text=lambda row: row["text"],
    # The recorded query is the passage without its last word, and the answer begins without a space.
    from_recorded=lambda document: {"text": f"{document['query']} {document['answers_text'][0]}"},
)
