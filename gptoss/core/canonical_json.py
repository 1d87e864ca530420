"""The one textual form of JSON outputs: equal values have equal bytes.

Outputs of stages are compared by hash, so an edit here changes them: unlike the rest of `core`, this module belongs to
the code identity of every stage.
"""

from __future__ import annotations

import json
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and an indent of two spaces. Raises `ValueError` for NaN and infinity."""
    # NaN is not JSON, and a metric that is NaN is a bug of the stage.
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
