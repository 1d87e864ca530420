"""Fill in the middle (Bavarian et al. 2022): predict a middle part from the text before and after it.

`pretrain.fim_rate` of the documents are cut at two random places and reordered as prefix, suffix, middle (PSM), each
part behind its sentinel token. All tokens are predicted. This is the context-level variant (section 3.2): it rearranges
what a window holds of a document, so packing never separates the parts. The sentinels lengthen the window, so its last
few tokens are dropped. The separator stays in front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gptoss.config.tokenizer import END_OF_TEXT, FIM_TOKENS
from gptoss.train.objectives import Integers

if TYPE_CHECKING:
    from gptoss.config.settings import Settings


def examples(windows: Integers, samples: Integers, settings: Settings) -> tuple[Integers, Integers]:
    """Inputs and targets `(N, T)` of rearranged windows `(N, T + 1)`."""
    ids = settings.tokenizer.special_ids
    separator, sentinels = ids[END_OF_TEXT], [ids[token] for token in FIM_TOKENS]
    rearranged = np.empty_like(windows)
    for window, sample, out in zip(windows, samples, rearranged, strict=True):
        # Counter-based generator: the stream depends on (seed, sample) alone.
        random = np.random.Generator(np.random.Philox(key=[settings.seed, int(sample)]))
        starts = np.flatnonzero(window == separator)
        documents = [
            psm(document, separator, sentinels, random) if random.random() < settings.pretrain.fim_rate else document
            # A separator at position 0 starts no split of its own: the first document would be empty.
            for document in np.split(window, starts[starts > 0])
        ]
        out[:] = np.concatenate(documents)[: len(out)]
    return rearranged[:, :-1], rearranged[:, 1:]


def psm(document: Integers, separator: int, sentinels: list[int], random: np.random.Generator) -> Integers:
    """Rearrange one document `(n,)` into `(n + 3,)`: its separator, if any, then prefix, suffix and middle, each behind
    its sentinel. `sentinels` are those of prefix, middle and suffix."""
    # Cuts are in the text only. A cut before the separator would put the document's boundary into its middle.
    head, text = np.split(document, [int(document[0] == separator)])
    prefix, middle, suffix = np.split(text, np.sort(random.integers(0, len(text) + 1, 2)))
    prefix_id, middle_id, suffix_id = ([sentinel] for sentinel in sentinels)
    return np.concatenate([head, prefix_id, prefix, suffix_id, suffix, middle_id, middle]).astype(np.int64)
