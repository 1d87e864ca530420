"""When a candidate becomes champion: every gate passed, every row of the champion was measured again in the same way
and none fell by more than chance allows, and bits per byte on the same held-out shards did not rise.

Two rows are measured in the same way when they scored the same items (their content, and that of the pool of few-shot
examples), as many, by the same template, with the same shots and the same limit to the answer. A row of a version
from before all this was kept does not say so, and is comparable with none: comparing on what both happen to have could
take two different measurements for one. Where the rule cannot compare it does not promote; a person decides, by
`python -m gptoss.cli.promote --force`.

The scores a later candidate is compared with are kept as tags of the registry version.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

ROW_TAG = "gptoss.row."
HELD_OUT_TAG = "gptoss.held_out"

MAX_RISE = {"base": 0.005, "instruct": 0.05}
"""How much bits per byte may rise, relative to the champion's. Both are of the same text, so which documents were drawn
plays no part; what is left is the luck of one training run (its seed, its order). An Instruct model is tuned away from
that text, and how far is a choice: of it, only damage is refused. Both bounds are judgement, not measured."""


@dataclass(frozen=True)
class Row:
    """One measured figure with its standard error, and how it was measured."""

    value: float
    stderr: float
    n: int
    template: str
    higher_is_better: bool = True
    shots: int | None = None
    answer_limit: int | None = None
    """Tokens that an answer could have; None where answers are ranked."""
    content: str = ""
    """Hash of the items; empty in a version from before it was kept."""


@dataclass(frozen=True)
class HeldOut:
    """Bits per byte, and the hash of the held-out shards it was measured on."""

    value: float
    shards: str
    head: str


@dataclass(frozen=True)
class Measured:
    """What is known of a version: its rows by `suite.task.metric`, and its bits per byte where the shards are known."""

    rows: Mapping[str, Row]
    held_out: HeldOut | None = None


@dataclass(frozen=True)
class Decision:
    """Whether the candidate is promoted, and why; `undecided` when all that speaks against it is that it could not be
    compared."""

    promoted: bool
    reasons: tuple[str, ...]
    undecided: bool = False


def measured(scores: Mapping[str, Any]) -> Measured:
    """What `scores.json` says."""
    rows = {
        f"{row['suite']}.{row['task']}.{row['metric']}": Row(
            float(row["value"]),
            float(row["stderr"] or 0.0),
            int(row["n"]),
            str(row["template_sha256"])[:16],
            bool(row.get("higher_is_better", True)),
            row.get("shots"),
            row.get("answer_limit"),
            str(row.get("content_sha256") or "")[:16],
        )
        for row in scores["rows"]
    }
    bits = scores["bits_per_byte"]
    shards = str(bits.get("shards_sha256") or "")
    return Measured(rows, HeldOut(float(bits["model"]), shards, scores.get("head", "base")) if shards else None)


def as_tags(scores: Mapping[str, Any]) -> dict[str, str]:
    """The rows and the bits per byte as tags of a registry version."""
    found = measured(scores)
    tags = {ROW_TAG + key: json.dumps(asdict(row)) for key, row in found.rows.items()}
    if found.held_out:
        tags[HELD_OUT_TAG] = json.dumps(asdict(found.held_out))
    return tags | {"gptoss.bits_per_byte": f"{scores['bits_per_byte']['model']:.4f}"}


def from_tags(tags: Mapping[str, str]) -> Measured:
    """What `as_tags` kept."""
    rows = {
        key.removeprefix(ROW_TAG): Row(**json.loads(value)) for key, value in tags.items() if key.startswith(ROW_TAG)
    }
    return Measured(rows, HeldOut(**json.loads(tags[HELD_OUT_TAG])) if HELD_OUT_TAG in tags else None)


def decide(candidate: Measured, champion: Measured | None, gates: Any, bound: float) -> Decision:
    """Compare a candidate with the champion; `bound` is in standard errors of the difference."""
    failed = failed_gates(gates)
    if failed:
        return Decision(False, tuple(f"gate {name} failed" for name in failed))
    passed = f"all {len(gates['gates'])} gates passed"
    if champion is None:
        return Decision(True, (passed, "there was no champion"))
    new, old = candidate.rows, champion.rows
    departures = {key: departure(new.get(key), row) for key, row in old.items()}
    comparable = [key for key, reason in departures.items() if not reason]
    same_text = _same_text(candidate.held_out, champion.held_out)
    worse = [fall for key in comparable if (fall := _fall(key, new[key], old[key], bound))]
    worse += [rise for pair in same_text if (rise := _rise(*pair))]
    unknown = [f"{key} ({reason})" for key, reason in departures.items() if reason]
    if unknown:
        unknown = [f"not comparable with the champion's: {', '.join(unknown)}"]
    elif not comparable and not same_text:
        unknown = ["nothing that was measured is comparable with the champion"]
    if worse or unknown:
        return Decision(False, (*worse, *unknown), undecided=not worse)
    rows = f"none of {len(comparable)} comparable rows fell by more than {bound:g} standard errors"
    bits = [f"bits per byte went from {was.value:.4f} to {now.value:.4f}" for now, was in same_text]
    return Decision(
        True, (passed, rows, *(bits or ["bits per byte not compared: not known to be of the same held-out shards"]))
    )


def failed_gates(gates: Any) -> list[str]:
    """Names of the gates in `gates.json` that did not pass."""
    return [str(gate["name"]) for gate in gates["gates"] if not gate["passed"]]


def departure(new: Row | None, old: Row) -> str:
    """How the measurement of a candidate's row departs from that of the champion's; empty when they are the same."""
    if new is None:
        return "not measured"
    if not new.content or not old.content:
        return "measured before its items were kept"
    pairs = {
        "items": (new.n, old.n),
        "template": (new.template, old.template),
        "shots": (new.shots, old.shots),
        "answer limit": (new.answer_limit, old.answer_limit),
        "content": (new.content, old.content),
    }
    return "; ".join(f"{what} {now}, was {was}" for what, (now, was) in pairs.items() if now != was)


def _same_text(new: HeldOut | None, old: HeldOut | None) -> list[tuple[HeldOut, HeldOut]]:
    return [(new, old)] if new and old and new.shards == old.shards else []


def _fall(key: str, new: Row, old: Row, bound: float) -> str | None:
    drop = old.value - new.value if new.higher_is_better else new.value - old.value
    error = math.hypot(new.stderr, old.stderr)
    if drop <= bound * error or drop <= 0:
        return None
    return f"{key} fell from {old.value:.4f} to {new.value:.4f}: {drop:.4f} > {bound:g} * {error:.4f}"


def _rise(new: HeldOut, old: HeldOut) -> str | None:
    bound = MAX_RISE[new.head]
    if new.value <= old.value * (1 + bound):
        return None
    rise = new.value / old.value - 1
    return f"bits per byte rose from {old.value:.4f} to {new.value:.4f}: {100 * rise:.2f} % > {100 * bound:g} %"
