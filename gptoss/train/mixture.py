"""The source of each sample, so that every source has its share of the run at any moment.

Within a phase the sources alternate in a fixed cycle. Weights become whole numbers of samples per cycle, and the cycle
is scheduled by earliest deadline first: sample `n` of a source with share `w` takes a slot in
`floor(n / w) … ceil((n + 1) / w) - 1`. Such a schedule exists for any shares and keeps every source within one sample
of its share after every sample (Tijdeman 1980, "The chairman assignment problem"; Baruah et al. 1996, "Proportionate
progress"). Drawing sources at random would deviate by the square root of their number of samples.

`shuffle.py` orders the windows of a source: its n-th sample is the n-th window of its own permutation, through all
phases, so no window is repeated before every other one was read. Source and window follow from the sample's number
alone, on any mesh, and a resumed run needs only the step.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from gptoss.config.settings import Settings
from gptoss.core.errors import DataError
from gptoss.tables.token_files import TokenSplit
from gptoss.train.shuffle import Integers, ShuffledWindows

# Weights with a longer exact cycle are rounded to this resolution, four decimals. A cycle is a table in memory.
MAX_CYCLE_SAMPLES = 10_000
# Samples whose tokens are counted at a time; bounds memory to some MB per source.
COUNT_CHUNK = 2**18


def samples_per_cycle(weights: Sequence[float]) -> list[int]:
    """Samples of each source in a cycle: exactly proportional to the decimal weights where a cycle of
    `MAX_CYCLE_SAMPLES` allows it; at least one for each weight above 0."""
    # Through str: the fraction of the float 0.1 has a denominator of 2^55, that of the decimal one of 10.
    exact = [Fraction(str(weight)) for weight in weights]
    shares = [weight / sum(exact) for weight in exact]
    length = min(MAX_CYCLE_SAMPLES, math.lcm(*(share.denominator for share in shares)))
    # Rounding must not remove a source that has a weight.
    return [max(1, round(share * length)) if share else 0 for share in shares]


def interleave(counts: Sequence[int]) -> Integers:
    """Source of each sample of a cycle with `counts` samples per source, shape (sum(counts),): among the sources whose
    next sample is released, the one with the earliest deadline."""
    length = sum(counts)
    taken = [0] * len(counts)
    order = np.empty(length, np.int64)
    for slot in range(length):
        _, source = min(
            (-(-(n + 1) * length // count), source)  # (deadline, ties by source)
            for source, (n, count) in enumerate(zip(taken, counts, strict=True))
            if n * length < (slot + 1) * count
        )
        taken[source] += 1
        order[slot] = source
    return order


class MixtureCycle:
    """The samples of one phase, assigned to sources by weight."""

    def __init__(self, weights: Sequence[float]) -> None:
        counts = samples_per_cycle(weights)
        self.counts_per_cycle = np.array(counts, np.int64)
        self.order = interleave(counts)
        taken = np.cumsum(self.order[:, None] == np.arange(len(weights)), axis=0)
        self.taken_before = np.concatenate([np.zeros((1, len(weights)), np.int64), taken])
        """Samples of each source before each slot, (slots + 1, sources)."""

    def assign(self, samples: Integers) -> tuple[Integers, Integers]:
        """Source of each sample of the phase, and its number among the samples of that source; both (N,)."""
        cycles, slots = np.divmod(samples, len(self.order))
        sources = self.order[slots]
        return sources, cycles * self.counts_per_cycle[sources] + self.taken_before[slots, sources]

    def counts(self, samples: int) -> Integers:
        """Samples of each source among the first `samples` of the phase, shape (sources,)."""
        cycles, slot = divmod(samples, len(self.order))
        return np.asarray(cycles * self.counts_per_cycle + self.taken_before[slot])


class SampleOrder:
    """The samples of a run in order, by `pretrain.mixture` and `pretrain.phases`.

    With neither, the whole split is one range, in which each source occurs in proportion to its tokens.

    Errors: `DataError` when a source with a weight is missing from the split or shorter than two windows.
    """

    def __init__(self, split: TokenSplit, settings: Settings) -> None:
        config, self.context = settings.pretrain, settings.model.context
        self.sources = list(split.sources)
        self.source_boundaries = np.array([*(s["start"] for s in split.sources.values()), len(split)], np.int64)
        if config.mixture is None and not config.phases:
            self.ranges, mixtures = [ShuffledWindows(0, len(split), self.context, settings.seed)], [[1.0]]
        else:
            tokens = {name: float(source["tokens"]) for name, source in split.sources.items()}
            # Phases without a base mixture begin in proportion to tokens, like a run without either.
            weights = [config.mixture or tokens, *(phase.mixture for phase in config.phases)]
            for mixture in weights:
                check_sources(mixture, split, self.context)
            self.ranges = [source_windows(split, name, self.context, settings.seed) for name in self.sources]
            mixtures = [[mixture.get(name, 0.0) for name in self.sources] for mixture in weights]
        self.cycles = [MixtureCycle(weights) for weights in mixtures]
        first_steps = [0, *(round(phase.from_fraction * config.steps) for phase in config.phases)]
        self.phase_starts = np.array(first_steps, np.int64) * config.sequences_per_step(self.context)
        lengths = np.diff(self.phase_starts)  # of all phases but the last, which needs none
        counts = [cycle.counts(int(length)) for cycle, length in zip(self.cycles, lengths, strict=False)]
        self.counts_before = np.cumsum([np.zeros(len(self.ranges), np.int64), *counts], axis=0)
        """Samples of each range before each phase, (phases, ranges)."""

    def starts(self, first: int, count: int) -> Integers:
        """First token of each of the samples `first … first + count - 1`, shape (count,)."""
        samples = np.arange(first, first + count, dtype=np.int64)
        phases = np.searchsorted(self.phase_starts, samples, side="right") - 1
        ranges, numbers, starts = (np.empty(count, np.int64) for _ in range(3))
        # The samples that `tokens` counts can span several phases.
        for phase in np.unique(phases):
            chosen = phases == phase
            ranges[chosen], numbers[chosen] = self.cycles[phase].assign(samples[chosen] - self.phase_starts[phase])
            numbers[chosen] += self.counts_before[phase][ranges[chosen]]
        for number in np.unique(ranges):
            chosen = ranges == number
            starts[chosen] = self.ranges[number].starts(numbers[chosen])
        return starts

    def tokens(self, first: int, count: int) -> Integers:
        """Input tokens of each source in these samples, shape (sources,); `count * context` in total."""
        # A window of a source's own range has one source, so counting samples is enough. A window of the whole split
        # may cross from one source into the next, so the overlap of every window has to be counted.
        if len(self.ranges) == len(self.sources):
            return (self._counts(first + count) - self._counts(first)) * self.context
        total = np.zeros(len(self.sources), np.int64)
        for chunk in range(first, first + count, COUNT_CHUNK):
            starts_N1 = self.starts(chunk, min(COUNT_CHUNK, first + count - chunk))[:, None]
            before_boundary_NS = np.clip(self.source_boundaries - starts_N1, 0, self.context)
            total += np.diff(before_boundary_NS, axis=1).sum(axis=0)
        return total

    def _counts(self, samples: int) -> Integers:
        """Samples of each range among the first `samples` of the run, shape (ranges,)."""
        phase = int(np.searchsorted(self.phase_starts, samples, side="right")) - 1
        return np.asarray(
            self.counts_before[phase] + self.cycles[phase].counts(samples - int(self.phase_starts[phase]))
        )


def source_windows(split: TokenSplit, source: str, context: int, seed: int) -> ShuffledWindows:
    """The windows of one source. Their order depends on the source's name and not on its position, so adding another
    source does not reshuffle this one."""
    digest = hashlib.blake2b(f"windows\0{seed}\0{source}".encode(), digest_size=8).digest()
    entry = split.sources[source]
    return ShuffledWindows(entry["start"], entry["tokens"], context, int.from_bytes(digest, "little"))


def check_sources(mixture: Mapping[str, float], split: TokenSplit, context: int) -> None:
    """Raise `DataError` unless every source with a weight above 0 has enough tokens."""
    for name, weight in mixture.items():
        tokens = split.sources.get(name, {"tokens": 0})["tokens"]
        if weight and tokens < 2 * context + 1:
            raise DataError(
                f"the {split.name} split has {tokens} tokens of {name}; model.context({context}) needs at least "
                f"{2 * context + 1} to mix it in (it has text of: {', '.join(split.sources)})",
                f"set the weight of {name} to 0 in pretrain.mixture and pretrain.phases, or add text to sources.{name}",
            )
