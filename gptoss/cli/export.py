"""Write the weights of a checkpoint as a stock Hugging Face model.

A checkpoint is read tensor by tensor, whatever mesh wrote it; each tensor is cast and written block by block. Memory is
bounded by the largest tensor, and no mesh is needed. The folder appears when it is complete.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gptoss.core.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="a folder such as .runs/pretrain-…/checkpoints/step-00001000")
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16")
    # As `gptoss.train.export.MAX_SHARD_BYTES`, which cannot be imported here without torch.
    parser.add_argument("--max-shard-bytes", type=int, default=5_000_000_000)


def execute(options: argparse.Namespace) -> None:
    """Check the checkpoint and write the model.

    Errors: `DataError` for a damaged checkpoint, or a weight that is not finite in the chosen precision.
    """
    from gptoss.models.precision import DTYPES
    from gptoss.train.checkpoint import find_damage
    from gptoss.train.export import export

    # A partial or altered checkpoint would give a model that loads and is wrong.
    if problem := find_damage(options.checkpoint):
        raise DataError(f"{options.checkpoint} is not an intact checkpoint: {problem}", "use another one of its run")
    export(options.checkpoint, options.out, DTYPES[options.dtype], options.max_shard_bytes)
