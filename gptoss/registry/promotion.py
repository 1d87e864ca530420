"""The rule by which a candidate becomes champion: a tuple of checks, `RULES`.

A candidate is promoted when every gate passed, every score of the champion was measured again in the same way and none
fell by more than chance allows, and bits per byte on the same held-out text did not rise.

Two scores are measured in the same way when they used the same items (by the hash of their content and of the few-shot
pool), the same number of them, the same template, shots and answer limit. A version that was registered before the
content hash was recorded is comparable with none: comparing only what both versions happen to record could take two
different measurements for one. Where the rule cannot compare, it does not promote; a person decides, with
`gptoss promote --force`.

To add a check: one function from `Comparison` to `Finding`, and one line in `RULES`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gptoss.registry.measurements import GATES_TAG, HeldOutBits, Measurements, TaskScore

# Relative rise of bits per byte that is tolerated. Both models read the same text, so sampling of documents plays no
# part; what remains is the variance between training runs (seed, order of data). An Instruct model is tuned away from
# that text by design, so only damage is rejected. Both bounds are judgement, not measured. They are constants, not keys
# of `params.yaml` as `max_drop` is: that one is in standard errors, a unit in which a user can choose, while better
# values here need a measurement of the variance between runs.
MAX_BITS_RISE = {"base": 0.005, "instruct": 0.05}
# Replaces the gates of a version that was registered before gates were recorded: they are not known to have passed.
UNKNOWN_GATES: list[Mapping[str, Any]] = [{"name": "unknown to the registry", "passed": False}]


@dataclass(frozen=True)
class Comparison:
    """A candidate and the champion it would replace."""

    candidate: Measurements
    champion: Measurements | None
    """None for the first version of a model."""
    gates: list[Mapping[str, Any]]
    """Name and `passed` of each gate of the candidate."""
    max_drop: float
    """Tolerated fall of a score, in standard errors of the difference."""

    @cached_property
    def old(self) -> Measurements:
        """Measurements of the champion, without any where there is no champion."""
        return self.champion or Measurements({})

    @cached_property
    def differences(self) -> dict[str, str]:
        """How the candidate's measurement of each score of the champion differs; empty text where it does not."""
        return {key: difference(self.candidate.scores.get(key), score) for key, score in self.old.scores.items()}

    @cached_property
    def comparable(self) -> list[str]:
        """The scores that both measured in the same way."""
        return [key for key, text in self.differences.items() if not text]

    @cached_property
    def same_text(self) -> tuple[HeldOutBits, HeldOutBits] | None:
        """Bits per byte of candidate and champion if both were measured on the same held-out text."""
        new, old = self.candidate.held_out, self.old.held_out
        return (new, old) if new and old and new.shards == old.shards else None


@dataclass(frozen=True)
class Finding:
    in_favour: tuple[str, ...] = ()
    """Reasons for promotion, reported when every check agrees."""
    against: tuple[str, ...] = ()
    """Measured reasons against promotion."""
    not_comparable: tuple[str, ...] = ()
    """What could not be compared, so that a person has to decide."""
    final: bool = False
    """The checks that follow are skipped."""


@dataclass(frozen=True)
class Decision:
    """Whether the candidate is promoted, and the reasons."""

    promoted: bool
    reasons: tuple[str, ...]
    undecided: bool = False
    """Nothing measured is against the candidate, but it could not be compared."""


def every_gate_passed(comparison: Comparison) -> Finding:
    """Reject a version that failed a gate, whatever its scores."""
    failed = tuple(f"gate {gate['name']} failed" for gate in comparison.gates if not gate["passed"])
    return Finding((f"all {len(comparison.gates)} gates passed",), against=failed, final=bool(failed))


def first_version(comparison: Comparison) -> Finding:
    """Promote the first version that passed every gate: there is nothing to compare it with."""
    return Finding() if comparison.champion else Finding(("there was no champion",), final=True)


def no_score_fell(comparison: Comparison) -> Finding:
    """Reject a fall that exceeds the standard error of the difference by a factor of `max_drop`."""
    new, old, bound = comparison.candidate.scores, comparison.old.scores, comparison.max_drop
    # Errors are combined as if independent. Both models answer the same items, so the true error is smaller and a bound
    # of two standard errors rejects fewer than one in forty unchanged scores. Each score is tested by itself, without a
    # correction for their number: the more scores, the likelier one of them falls by chance.
    falls = tuple(text for key in comparison.comparable if (text := _fall(key, new[key], old[key], bound)))
    rows = f"none of {len(comparison.comparable)} comparable rows fell by more than {bound:g} standard errors"
    return Finding((rows,), against=falls)


def bits_per_byte_did_not_rise(comparison: Comparison) -> Finding:
    """Reject a rise of bits per byte above `MAX_BITS_RISE`, where both were measured on the same text."""
    # Text that is easier to predict gives fewer bits: values of different texts say nothing about the models.
    if comparison.same_text is None:
        return Finding(("bits per byte not compared: not known to be of the same held-out shards",))
    new, old = comparison.same_text
    bound = MAX_BITS_RISE[new.head]
    if new.value <= old.value * (1 + bound):
        return Finding((f"bits per byte went from {old.value:.4f} to {new.value:.4f}",))
    # NaN arrives here as well, because the comparison above is false for it.
    rise = 100 * (new.value / old.value - 1)
    text = f"bits per byte rose from {old.value:.4f} to {new.value:.4f}: {rise:.2f} % > {100 * bound:g} %"
    return Finding(against=(text,))


def everything_was_compared(comparison: Comparison) -> Finding:
    """Leave the decision to a person when a score of the champion, or everything, could not be compared."""
    if missing := [f"{key} ({text})" for key, text in comparison.differences.items() if text]:
        return Finding(not_comparable=(f"not comparable with the champion's: {', '.join(missing)}",))
    if not comparison.comparable and comparison.same_text is None:
        return Finding(not_comparable=("nothing that was measured is comparable with the champion",))
    return Finding()


# The order is that of the reasons in the registry. The first two may end the comparison.
RULES: tuple[Callable[[Comparison], Finding], ...] = (
    every_gate_passed,
    first_version,
    no_score_fell,
    bits_per_byte_did_not_rise,
    everything_was_compared,
)


def decide(comparison: Comparison) -> Decision:
    """Apply `RULES`. A candidate is promoted when no check speaks against it and everything could be compared."""
    findings: list[Finding] = []
    # All checks run, so that the registry lists every reason and not only the first.
    for rule in RULES:
        findings.append(rule(comparison))
        if findings[-1].final:
            break
    against = tuple(reason for finding in findings for reason in finding.against)
    not_comparable = tuple(reason for finding in findings for reason in finding.not_comparable)
    if against or not_comparable:
        return Decision(False, against + not_comparable, undecided=not against)
    return Decision(True, tuple(reason for finding in findings for reason in finding.in_favour))


def decide_by_tags(candidate: Mapping[str, str], champion: Mapping[str, str] | None, max_drop: float) -> Decision:
    """Apply the rule to the tags of two registry versions; `champion` is None when there is none."""
    gates: list[Mapping[str, Any]] = json.loads(candidate[GATES_TAG]) if GATES_TAG in candidate else UNKNOWN_GATES
    # "No champion" and "a champion without measurements" differ: only the first promotes without a comparison.
    old = Measurements.from_tags(champion) if champion is not None else None
    return decide(Comparison(Measurements.from_tags(candidate), old, gates, max_drop))


def difference(new: TaskScore | None, old: TaskScore) -> str:
    """Describe how the measurement of the candidate's score differs from the champion's; empty when it does not."""
    if new is None:
        return "not measured"
    if not new.content or not old.content:
        return "measured before its items were kept"
    # Compared by content and not by the name of the task: the same name may mean other items after an update.
    pairs = {
        "items": (new.n, old.n),
        "template": (new.template, old.template),
        "shots": (new.shots, old.shots),
        "answer limit": (new.answer_limit, old.answer_limit),
        "content": (new.content, old.content),
    }
    return "; ".join(f"{name} {now}, was {before}" for name, (now, before) in pairs.items() if now != before)


def _fall(key: str, new: TaskScore, old: TaskScore, bound: float) -> str | None:
    drop = old.value - new.value if new.higher_is_better else new.value - old.value
    error = math.hypot(new.stderr, old.stderr)
    if drop <= bound * error or drop <= 0:
        return None
    return f"{key} fell from {old.value:.4f} to {new.value:.4f}: {drop:.4f} > {bound:g} * {error:.4f}"
