"""Export the weights of a checkpoint as a stock Hugging Face model.

Reads the checkpoint tensor by tensor, whatever mesh wrote it, and casts and writes each in blocks. Memory is bounded by
the largest tensor, not by the model or a file of it, and no process group is needed. The output folder appears when it
is complete. (Exports from the ranks of a pipeline have lost the keys of other pipeline stages elsewhere:
NVIDIA-NeMo/Automodel#2096, #3248.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint import DefaultLoadPlanner, FileSystemReader

from gptoss.core.atomic_files import atomic_folder, read_json, write_json
from gptoss.core.errors import DataError
from gptoss.tables.safetensors_files import BLOCK_BYTES
from gptoss.tables.safetensors_shards import write_safetensors
from gptoss.train.checkpoint import MANIFEST

MAX_SHARD_BYTES = 5_000_000_000  # default of save_pretrained before transformers 5, which raised it to 50 GB
PREFIX = "model."  # distinguishes weights from optimizer state in a checkpoint


class CheckpointWeights:
    """Random access to the weights in a checkpoint."""

    def __init__(self, checkpoint: Path) -> None:
        self._reader = FileSystemReader(checkpoint)
        self._metadata = self._reader.read_metadata()
        self._reader.set_up_storage_reader(self._metadata, is_coordinator=True)
        stored: dict[str, Any] = self._metadata.state_dict_metadata
        names = sorted((key.removeprefix(PREFIX) for key in stored if key.startswith(PREFIX)), key=_natural_order)
        self.sizes: dict[str, torch.Size] = {name: stored[PREFIX + name].size for name in names}
        """Shape of each parameter under its Hugging Face name, layers in order."""
        self._dtypes = {name: stored[PREFIX + name].properties.dtype for name in names}

    def read(self, name: str) -> Tensor:
        """One whole parameter in its training precision (float32), assembled from the shards of all ranks."""
        tensor = torch.empty(self.sizes[name], dtype=self._dtypes[name])
        # A plan for one key. `dcp.load` would need the tensors of the whole model at once.
        planner = DefaultLoadPlanner()
        planner.set_up_planner({PREFIX + name: tensor}, self._metadata, is_coordinator=True)
        load_plan = self._reader.prepare_local_plan(planner.create_local_plan())
        self._reader.read_data(load_plan, planner).wait()
        return tensor


def _natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key that puts layer 10 after layer 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def export(checkpoint: Path, out: Path, dtype: torch.dtype, max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
    """Write safetensors files, their index if there are several, and `config.json`.

    Errors: `DataError` when a weight is not finite in `dtype`.
    """
    weights = CheckpointWeights(checkpoint)
    tensors = {name: (dtype, size) for name, size in weights.sizes.items()}
    with atomic_folder(out) as partial:
        write_safetensors(
            partial, tensors, lambda name: cast_blocks(weights.read(name), dtype, name), max_shard_bytes,
            description="export",
        )  # fmt: skip
        # From the manifest, so that a checkpoint can be exported without the settings of its run.
        config: dict[str, Any] = read_json(checkpoint / MANIFEST)["config"]
        write_json(partial / "config.json", config | {"dtype": str(dtype).removeprefix("torch.")})


def cast_blocks(tensor: Tensor, dtype: torch.dtype, name: str) -> Iterator[Tensor]:
    """The values of a tensor in another precision, block by block. Raises `DataError` when one is not finite."""
    for block in tensor.flatten().split(BLOCK_BYTES // tensor.itemsize):
        cast = block.to(dtype)
        # A cast overflows silently; weights trained in bfloat16 are known to exceed float16 (QwenLM/Qwen3#868).
        if not bool(cast.isfinite().all()):
            raise DataError(
                f"{name} has values that are not finite in {dtype} (up to {block.abs().max().item():g})",
                "use an earlier checkpoint, or --dtype float32 to see them",
            )
        yield cast
