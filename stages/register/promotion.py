"""When a candidate becomes champion: every gate passed, and no suite row fell by more than chance allows.

Two rows are compared only when they measured the same items in the same way (task, metric, n, template). The
scores a later candidate is compared with are kept as tags of the registry version.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

ROW_TAG = "gptoss.row."


@dataclass(frozen=True)
class Row:
    """One measured figure with its standard error, and how it was measured."""

    value: float
    stderr: float
    n: int
    template: str
    higher_is_better: bool = True


@dataclass(frozen=True)
class Decision:
    """Whether the candidate is promoted, and why."""

    promoted: bool
    reasons: tuple[str, ...]


def rows_of(scores: Mapping[str, Any]) -> dict[str, Row]:
    """The suite rows of `scores.json` by `suite.task.metric`."""
    return {
        f"{row['suite']}.{row['task']}.{row['metric']}": Row(
            float(row["value"]),
            float(row["stderr"] or 0.0),
            int(row["n"]),
            str(row["template_sha256"])[:16],
            bool(row.get("higher_is_better", True)),
        )
        for row in scores["rows"]
    }


def as_tags(scores: Mapping[str, Any]) -> dict[str, str]:
    """The rows and the bits per byte as tags of a registry version."""
    tags = {ROW_TAG + key: json.dumps(asdict(row)) for key, row in rows_of(scores).items()}
    return tags | {"gptoss.bits_per_byte": f"{scores['bits_per_byte']['model']:.4f}"}


def from_tags(tags: Mapping[str, str]) -> dict[str, Row]:
    """The rows that `as_tags` kept."""
    return {
        key.removeprefix(ROW_TAG): Row(**json.loads(value)) for key, value in tags.items() if key.startswith(ROW_TAG)
    }


def decide(candidate: Mapping[str, Row], champion: Mapping[str, Row] | None, gates: Any, bound: float) -> Decision:
    """Compare a candidate with the champion; `bound` is in standard errors of the difference."""
    failed = failed_gates(gates)
    if failed:
        return Decision(False, tuple(f"gate {name} failed" for name in failed))
    passed = f"all {len(gates['gates'])} gates passed"
    if champion is None:
        return Decision(True, (passed, "there was no champion"))
    comparable = [
        key
        for key, row in candidate.items()
        if key in champion and (row.n, row.template) == (champion[key].n, champion[key].template)
    ]
    falls = [fall for key in comparable if (fall := _fall(key, candidate[key], champion[key], bound))]
    if falls:
        return Decision(False, tuple(falls))
    return Decision(
        True, (passed, f"none of {len(comparable)} comparable rows fell by more than {bound:g} standard errors")
    )


def failed_gates(gates: Any) -> list[str]:
    """Names of the gates in `gates.json` that did not pass."""
    return [str(gate["name"]) for gate in gates["gates"] if not gate["passed"]]


def _fall(key: str, new: Row, old: Row, bound: float) -> str | None:
    drop = old.value - new.value if new.higher_is_better else new.value - old.value
    error = math.hypot(new.stderr, old.stderr)
    if drop <= bound * error or drop <= 0:
        return None
    return f"{key} fell from {old.value:.4f} to {new.value:.4f}: {drop:.4f} > {bound:g} * {error:.4f}"
