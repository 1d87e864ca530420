"""Formats of benchmark items, one module per format. A new format is its module and one line in `FORMATS`."""

from __future__ import annotations

from gptoss.eval_items.formats import (
    arc_challenge,
    drop,
    gsm8k,
    hellaswag,
    humaneval,
    lambada,
    minimal_pairs,
    mmlu,
    winogrande,
)
from gptoss.eval_items.item_format import ItemFormat

# The report shows the columns of published figures in this order, the order of the GPT-4 report's table.
FORMATS: dict[str, ItemFormat] = {
    "mmlu": mmlu.FORMAT,
    "hellaswag": hellaswag.FORMAT,
    "arc_challenge": arc_challenge.FORMAT,
    "winogrande": winogrande.FORMAT,
    "humaneval": humaneval.FORMAT,
    "drop": drop.FORMAT,
    "gsm8k": gsm8k.FORMAT,
    "lambada": lambada.FORMAT,
    "minimal_pairs": minimal_pairs.FORMAT,
}
