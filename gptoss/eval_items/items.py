"""What freezing, pinning and evaluating items share: their names, their content hash, and even samples of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any


def spread(total: int, wanted: int | None) -> list[int]:
    """`wanted` positions spread evenly over `range(total)`, ascending; all of them for None or too many."""
    # Benchmarks are sorted (by source, by subject, by passage), so their first items are not a fair sample.
    if wanted is None or wanted >= total:
        return list(range(total))
    return [index * total // wanted for index in range(wanted)]


def content_sha256(rows: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of frozen rows as JSON lines with sorted keys."""
    # Not of the Parquet file, whose bytes also depend on the version of the library that wrote it.
    lines = (json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def item_id(subset: str, position: int) -> str:
    """The name of an item within its task: `SUBSET/POSITION`, or the position alone if there is one subset."""
    # The position, not an id of the data set: several data sets have none.
    return str(position) if subset == "default" else f"{subset}/{position}"
