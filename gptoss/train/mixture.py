"""Which source each sample comes from, so that at any moment every source has had its share.

Within a phase the sources take turns in a cycle that is repeated. Weights become whole numbers of samples a cycle,
and the cycle is dealt by earliest deadline first: the sample number n of a source with share w is taken in the slots
`floor(n / w) … ceil((n + 1) / w) - 1`. That is possible for any shares, and keeps each source within one sample of its
share after every sample (Tijdeman 1980, "The chairman assignment problem"; Baruah et al. 1996, "Proportionate
progress"), where drawing at random would be off by the square root of their number.

Which of its own windows a source gives next is in `order.py`: the n-th sample of a source is the n-th window of its
own permutation, through all phases, so no window comes twice before every other came once. Source and window follow
from the number of the sample alone, whatever the mesh, and a resumed run needs nothing but the step.
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
from gptoss.train.shuffle import Integers, Windows

LONGEST_CYCLE = 10_000
"""Samples. Weights whose exact cycle is longer are rounded to this many parts: four decimals."""
AT_ONCE = 2**18
"""Samples whose tokens are counted in one go."""


def quotas(weights: Sequence[float]) -> list[int]:
    """Samples of each source in a cycle: exactly in proportion to the decimal weights where a cycle of at most
    `LONGEST_CYCLE` allows it; at least one of each weight above 0."""
    exact = [Fraction(str(weight)) for weight in weights]
    shares = [weight / sum(exact) for weight in exact]
    length = min(LONGEST_CYCLE, math.lcm(*(share.denominator for share in shares)))
    return [max(1, round(share * length)) if share else 0 for share in shares]


def dealt(quota: Sequence[int]) -> Integers:
    """The source of each sample of a cycle, shape (sum(quota),), earliest deadline first."""
    length = sum(quota)
    taken = [0] * len(quota)
    order = np.empty(length, np.int64)
    for sample in range(length):
        _, source = min(
            (-(-(count + 1) * length // each), source)
            for source, (count, each) in enumerate(zip(taken, quota, strict=True))
            if count * length < (sample + 1) * each
        )
        taken[source] += 1
        order[sample] = source
    return order


class Cycle:
    """The samples of one phase, dealt to sources by weight."""

    def __init__(self, weights: Sequence[float]) -> None:
        self.quota = np.array(quotas(weights), np.int64)
        self.order = dealt(self.quota.tolist())
        taken = np.cumsum(self.order[:, None] == np.arange(len(weights)), axis=0)
        self.taken = np.concatenate([np.zeros((1, len(weights)), np.int64), taken])

    def deal(self, samples: Integers) -> tuple[Integers, Integers]:
        """Source of each sample of the phase, and its number among the samples of that source; both (N,)."""
        rounds, places = np.divmod(samples, len(self.order))
        sources = self.order[places]
        return sources, rounds * self.quota[sources] + self.taken[places, sources]

    def counts(self, samples: int) -> Integers:
        """How many of the first `samples` samples each source gives, shape (sources,)."""
        rounds, place = divmod(samples, len(self.order))
        return np.asarray(rounds * self.quota + self.taken[place])


class SampleOrder:
    """The samples of a run in order, by the settings `pretrain.mixture` and `pretrain.phases`.

    With neither, the whole split is one range, in which each source comes in proportion to its tokens. Raises
    `DataError` when a source that is to be read is missing from the split or too short.
    """

    def __init__(self, split: TokenSplit, settings: Settings) -> None:
        pretrain, self.context = settings.pretrain, settings.model.context
        self.sources = list(split.sources)
        self.edges = np.append([source["start"] for source in split.sources.values()], len(split)).astype(np.int64)
        if pretrain.mixture is None and not pretrain.phases:
            self.ranges, mixtures = [Windows(0, len(split), self.context, settings.seed)], [[1.0]]
        else:
            tokens = {name: float(source["tokens"]) for name, source in split.sources.items()}
            given = [pretrain.mixture or tokens, *(phase.mixture for phase in pretrain.phases)]
            for mixture in given:
                check_sources(mixture, split, self.context)
            self.ranges = [source_windows(split, name, self.context, settings.seed) for name in self.sources]
            mixtures = [[mixture.get(name, 0.0) for name in self.sources] for mixture in given]
        self.cycles = [Cycle(weights) for weights in mixtures]
        steps = [0, *(round(phase.from_fraction * pretrain.steps) for phase in pretrain.phases)]
        self.begins = np.array(steps, np.int64) * settings.sequences_per_step
        counts = [cycle.counts(int(n)) for cycle, n in zip(self.cycles, np.diff(self.begins), strict=False)]
        self.before = np.cumsum([np.zeros(len(self.ranges), np.int64), *counts], axis=0)

    def starts(self, first: int, count: int) -> Integers:
        """First token of each of the samples `first … first + count - 1`, shape (count,)."""
        samples = np.arange(first, first + count, dtype=np.int64)
        phases = np.searchsorted(self.begins, samples, side="right") - 1
        ranges, numbers, starts = (np.empty(count, np.int64) for _ in range(3))
        for phase in np.unique(phases):
            chosen = phases == phase
            ranges[chosen], numbers[chosen] = self.cycles[phase].deal(samples[chosen] - self.begins[phase])
            numbers[chosen] += self.before[phase][ranges[chosen]]
        for number in np.unique(ranges):
            chosen = ranges == number
            starts[chosen] = self.ranges[number].starts(numbers[chosen])
        return starts

    def tokens(self, first: int, count: int) -> Integers:
        """Tokens of each source that these samples read as inputs, shape (sources,): `count * context` in all.
        A window of the whole split may reach from one source into the next; one of a source's own range may not."""
        if len(self.ranges) == len(self.sources):
            return (self._counts(first + count) - self._counts(first)) * self.context
        total = np.zeros(len(self.sources), np.int64)
        for at in range(first, first + count, AT_ONCE):
            starts_N1 = self.starts(at, min(AT_ONCE, first + count - at))[:, None]
            below_NS = np.clip(self.edges - starts_N1, 0, self.context)
            total += np.diff(below_NS, axis=1).sum(axis=0)
        return total

    def _counts(self, samples: int) -> Integers:
        """How many of the first `samples` samples of the run each range gives, shape (ranges,)."""
        phase = int(np.searchsorted(self.begins, samples, side="right")) - 1
        return np.asarray(self.before[phase] + self.cycles[phase].counts(samples - int(self.begins[phase])))


def source_windows(split: TokenSplit, source: str, context: int, seed: int) -> Windows:
    """The windows of one source, in an order of its own: other sources may come and go."""
    digest = hashlib.blake2b(f"windows\0{seed}\0{source}".encode(), digest_size=8).digest()
    place = split.sources[source]
    return Windows(place["start"], place["tokens"], context, int.from_bytes(digest, "little"))


def check_sources(mixture: Mapping[str, float], split: TokenSplit, context: int) -> None:
    """Every source of a weight above 0 has text enough. Raises `DataError`."""
    for name, weight in mixture.items():
        held = split.sources.get(name, {"tokens": 0})["tokens"]
        if weight and held < 2 * context + 1:
            raise DataError(
                f"the {split.name} split has {held} tokens of {name}; model.context({context}) needs at least "
                f"{2 * context + 1} to mix it in (it has text of: {', '.join(split.sources)})",
                f"set the weight of {name} to 0 in pretrain.mixture and pretrain.phases, or add text to sources.{name}",
            )
