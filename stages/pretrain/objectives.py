"""What is learnt from a window of tokens: `pretrain.objective` names one of `OBJECTIVES`.

An objective turns windows `(N, T + 1)` int64 into inputs and targets, both `(N, T)`. It gets the global number of
each sample too: whatever it draws at random is a pure function of (seed, sample), never of the rank or the step, so
any mesh trains on the same tokens and a resumed run on those it would have had. A target of `data.IGNORED` counts
for nothing. To add one: write the function, add its line to `OBJECTIVES`, test it in tests/pretrain/test_objectives.py.
Validation always measures plain next-token prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stages.tokenizer.folder import FIM_TOKENS, SEPARATOR

if TYPE_CHECKING:
    from stages.settings import Settings

Integers = npt.NDArray[np.int64]
Objective = Callable[[Integers, Integers, "Settings"], tuple[Integers, Integers]]


def causal_lm(windows: Integers, samples: Integers, settings: Settings) -> tuple[Integers, Integers]:
    """Predict each token from those before it."""
    return windows[:, :-1], windows[:, 1:]


def fill_in_the_middle(windows: Integers, samples: Integers, settings: Settings) -> tuple[Integers, Integers]:
    """Fill in the middle (Bavarian et al. 2022): `pretrain.fim_rate` of the documents are cut at two random places and
    reordered as prefix, suffix, middle (PSM), each behind its sentinel; all tokens are predicted.

    At context level (section 3.2): what a window holds of a document is rearranged, so that no piece of it is lost to
    the cuts of packing; the window then ends a few tokens earlier. The separator stays in front.
    """
    ids = settings.tokenizer.special_ids
    separator, sentinels = ids[SEPARATOR], [ids[token] for token in FIM_TOKENS]
    rearranged = np.empty_like(windows)
    for window, sample, row in zip(windows, samples, rearranged, strict=True):
        random = np.random.Generator(np.random.Philox(key=[settings.seed, int(sample)]))
        starts = np.flatnonzero(window == separator)
        parts = [
            psm(document, separator, sentinels, random) if random.random() < settings.pretrain.fim_rate else document
            for document in np.split(window, starts[starts > 0])
        ]
        row[:] = np.concatenate(parts)[: len(row)]
    return causal_lm(rearranged, samples, settings)


def psm(document: Integers, separator: int, sentinels: list[int], random: np.random.Generator) -> Integers:
    """One document `(n,)` as `(n + 3,)`: separator if it has one, prefix, suffix and middle behind their sentinels."""
    head, text = np.split(document, [int(document[0] == separator)])
    prefix, middle, suffix = np.split(text, np.sort(random.integers(0, len(text) + 1, 2)))
    of_prefix, of_middle, of_suffix = ([sentinel] for sentinel in sentinels)
    return np.concatenate([head, of_prefix, prefix, of_suffix, suffix, of_middle, middle]).astype(np.int64)


OBJECTIVES: dict[str, Objective] = {
    "causal_lm": causal_lm,
    "fill_in_the_middle": fill_in_the_middle,
}
