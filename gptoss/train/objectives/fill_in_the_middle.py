"""Fill in the middle (Bavarian et al. 2022): predict a middle part from the text before and after it.

`pretrain.fim_rate` of the documents are cut at two random places and reordered as prefix, suffix, middle (PSM), each
behind its sentinel token; all tokens are predicted. This is the context-level variant (section 3.2): what a window
holds of a document is rearranged, so no piece of it is lost to the cuts of packing. The sentinels make the window
longer, so its last few tokens are dropped. The separator stays in front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gptoss.config.tokenizer import FIM_TOKENS, SEPARATOR
from gptoss.train.objectives import Integers

if TYPE_CHECKING:
    from gptoss.config.settings import Settings


def examples(windows: Integers, samples: Integers, settings: Settings) -> tuple[Integers, Integers]:
    """Inputs and targets `(N, T)` of rearranged windows."""
    ids = settings.tokenizer.special_ids
    separator, sentinels = ids[SEPARATOR], [ids[token] for token in FIM_TOKENS]
    rearranged = np.empty_like(windows)
    for window, sample, row in zip(windows, samples, rearranged, strict=True):
        # Counter-based generator: the stream depends on (seed, sample) alone.
        random = np.random.Generator(np.random.Philox(key=[settings.seed, int(sample)]))
        starts = np.flatnonzero(window == separator)
        parts = [
            psm(document, separator, sentinels, random) if random.random() < settings.pretrain.fim_rate else document
            for document in np.split(window, starts[starts > 0])
        ]
        row[:] = np.concatenate(parts)[: len(row)]
    return rearranged[:, :-1], rearranged[:, 1:]


def psm(document: Integers, separator: int, sentinels: list[int], random: np.random.Generator) -> Integers:
    """One document `(n,)` as `(n + 3,)`: separator if it has one, prefix, suffix and middle behind their sentinels."""
    head, text = np.split(document, [int(document[0] == separator)])
    prefix, middle, suffix = np.split(text, np.sort(random.integers(0, len(text) + 1, 2)))
    of_prefix, of_middle, of_suffix = ([sentinel] for sentinel in sentinels)
    return np.concatenate([head, of_prefix, prefix, of_suffix, suffix, of_middle, middle]).astype(np.int64)
