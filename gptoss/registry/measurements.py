"""What was measured of a model version: as the evaluation wrote it, and as tags of the registry version.

The registry keeps the tags as long as the version, so a later candidate can be compared with a champion whose
evaluation is no longer on this machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SCORE_TAG = "gptoss.row."
HELD_OUT_TAG = "gptoss.held_out"
GATES_TAG = "gptoss.gates"
# 64 bits suffice to distinguish templates and item sets, and keep the reasons of a decision readable.
HASH_DIGITS = 16


@dataclass(frozen=True)
class TaskScore:
    """One metric of one task with its standard error, and how it was measured."""

    # The names of the fields are JSON keys in the tags of registered versions: a new name would make those unreadable.
    value: float
    stderr: float
    n: int
    template: str
    higher_is_better: bool = True
    shots: int | None = None
    answer_limit: int | None = None
    """Maximum tokens of an answer; None where answers are ranked by likelihood."""
    content: str = ""
    """Hash of the items and of the pool of few-shot examples; empty in a version registered before it was recorded."""


@dataclass(frozen=True)
class HeldOutBits:
    """Bits per byte, and the hash of the held-out token files that it was measured on."""

    # JSON keys in tags, as above.
    value: float
    shards: str
    head: str


@dataclass(frozen=True)
class Measurements:
    """Scores by `suite.task.metric`, and bits per byte where it is known what text it was measured on."""

    scores: Mapping[str, TaskScore]
    held_out: HeldOutBits | None = None

    @classmethod
    def from_scores(cls, evaluation: Mapping[str, Any]) -> Measurements:
        """Read the contents of `scores.json`."""
        # Several suites may contain the same task with different shots, so the suite is part of the key.
        scores = {
            f"{row['suite']}.{row['task']}.{row['metric']}": TaskScore(
                value=float(row["value"]),
                stderr=float(row["stderr"] or 0.0),  # some metrics have none: then any fall counts
                n=int(row["n"]),
                template=str(row["template_sha256"])[:HASH_DIGITS],
                higher_is_better=bool(row.get("higher_is_better", True)),
                shots=row.get("shots"),
                answer_limit=row.get("answer_limit"),
                content=str(row.get("content_sha256") or "")[:HASH_DIGITS],
            )
            for row in evaluation["rows"]
        }
        bits, variant = evaluation["bits_per_byte"], evaluation.get("head", "base")
        # Empty in evaluations written before the hash was recorded: then bits per byte are not comparable.
        shards = str(bits.get("shards_sha256") or "")
        return cls(scores, HeldOutBits(float(bits["model"]), shards, variant) if shards else None)

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Measurements:
        """Read the tags of a registry version."""
        scores = {
            key.removeprefix(SCORE_TAG): TaskScore(**json.loads(value))
            for key, value in tags.items()
            if key.startswith(SCORE_TAG)
        }
        return cls(scores, HeldOutBits(**json.loads(tags[HELD_OUT_TAG])) if HELD_OUT_TAG in tags else None)

    def as_tags(self) -> dict[str, str]:
        """Return the tags that `from_tags` reads."""
        tags = {SCORE_TAG + key: json.dumps(asdict(score)) for key, score in self.scores.items()}
        return tags | ({HELD_OUT_TAG: json.dumps(asdict(self.held_out))} if self.held_out else {})
