"""Training objectives: what a model learns from a window of tokens. `pretrain.objective` selects one module.

A module defines `examples(windows, samples, settings) -> (inputs, targets)`:

- `windows`: `(N, T + 1)` int64 token ids; `inputs` and `targets` are both `(N, T)` int64.
- `samples`: `(N,)` int64, the global number of each window. Everything an objective draws at random is a pure function
  of (seed, sample), never of the rank or the step: every mesh trains on the same tokens, and so does a resumed run.
- A target of `IGNORE_INDEX` (-100) does not contribute to the loss.

To add one: write the module, add its line to `OBJECTIVES` in `gptoss/config/extensions.py`, and test it in
`tests/train/test_objectives.py`. Validation always measures plain next-token prediction, so runs with different
objectives compare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gptoss.config.settings import Settings

Integers = npt.NDArray[np.int64]
Objective = Callable[[Integers, Integers, "Settings"], tuple[Integers, Integers]]
