"""Cast safetensors to float16 block by block, into files of a bounded size.

In: a folder with `model.safetensors`, or several files and `model.safetensors.index.json`. Out: the same names
in float16, at most `max_bytes` of tensors a file. Memory holds a few blocks of a tensor, whatever the model; each
file is hashed while it is written.
What can go wrong: a missing or damaged file, a tensor larger than a file may be. A value that float16 cannot hold
(65,520 or more rounds to infinity) is written as infinity and reported, as is one that was no number before: the gate
`weights_fit_float16` then refuses the folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import UserError
from gptoss.core.progress import progress
from gptoss.tables.safetensors_files import SafetensorsWriter, StoredTensor, read_header

if TYPE_CHECKING:
    import torch

MODEL = "model.safetensors"
ADAPTER = "adapter_model.safetensors"
BYTES_PER_VALUE = 2
FLOAT16_MAX = 65504.0
FLOAT16_OVERFLOW = 65520.0
"""The least value that rounds to infinity: half-way to what would be the next float16."""


@dataclass
class Conversion:
    """What a conversion wrote and met."""

    parameters: int = 0
    bytes: int = 0
    files: list[str] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)
    """Hash of each file, as it was written."""
    largest: float = 0.0
    """The largest absolute value of all finite weights, before the cast."""
    overflowing: list[str] = field(default_factory=list)
    """Tensors with a finite value that is infinite in float16."""
    not_finite: list[str] = field(default_factory=list)
    """Tensors that held NaN or infinity before the cast."""

    def add_adapter(self, adapter: Conversion) -> None:
        """Take over the hashes and the faults of the adapter in `adapter/`."""
        self.sha256 |= {f"adapter/{name}": value for name, value in adapter.sha256.items()}
        self.largest = max(self.largest, adapter.largest)
        self.overflowing += adapter.overflowing
        self.not_finite += adapter.not_finite


def stored_tensors(folder: Path, single: str = MODEL) -> list[StoredTensor]:
    """The tensors of a folder in the order of the network, read from the files' headers alone."""
    index = folder / f"{single}.index.json"
    names = sorted(set(read_json(index)["weight_map"].values())) if index.exists() else [single]
    return sorted((tensor for name in names for tensor in read_header(folder / name)), key=lambda t: _place(t.name))


def plan(tensors: list[StoredTensor], max_bytes: int) -> list[list[StoredTensor]]:
    """The tensors of each file, in order. Raises `UserError` for a tensor that no file can hold."""
    files: list[list[StoredTensor]] = [[]]
    filled = 0
    for tensor in tensors:
        need = tensor.values * BYTES_PER_VALUE
        if need > max_bytes:
            raise UserError(
                f"{tensor.name} takes {tensor.values} values * {BYTES_PER_VALUE} bytes = {need} bytes, "
                f"above publish.max_shard_bytes({max_bytes})",
                f"set publish.max_shard_bytes to {need} or more",
            )
        if files[-1] and filled + need > max_bytes:
            files.append([])
            filled = 0
        files[-1].append(tensor)
        filled += need
    return files


def convert(source: Path, folder: Path, max_bytes: int, single: str = MODEL) -> Conversion:
    """Write the tensors of `source` to `folder` in float16, with an index when there are several files."""
    import torch

    files = plan(stored_tensors(source, single), max_bytes)
    converted = Conversion()
    weight_map: dict[str, str] = {}
    for number, tensors in enumerate(progress(files, f"{single} to float16", unit="file"), 1):
        name = single if len(files) == 1 else f"{single[:-12]}-{number:05d}-of-{len(files):05d}.safetensors"
        with SafetensorsWriter(folder / name, {t.name: (torch.float16, t.shape) for t in tensors}) as writer:
            for tensor in tensors:
                writer.write(tensor.name, _cast(tensor, converted))
        converted.files.append(name)
        converted.sha256[name] = writer.sha256
        weight_map |= dict.fromkeys((tensor.name for tensor in tensors), name)
    converted.bytes = converted.parameters * BYTES_PER_VALUE
    if len(files) > 1:
        write_json(
            folder / f"{single}.index.json",
            {"metadata": {"total_size": converted.bytes}, "weight_map": weight_map},
        )
    return converted


def tensor_dtypes(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and dtype (F16, F32 …) of every tensor in every safetensors file below `folder`, from the headers."""
    for path in sorted(folder.rglob("*.safetensors")):
        for tensor in read_header(path):
            yield tensor.name, tensor.dtype


def _cast(tensor: StoredTensor, converted: Conversion) -> Iterator[torch.Tensor]:
    """The blocks of a tensor in float16; counts its values and notes what float16 cannot hold."""
    import torch

    converted.parameters += tensor.values
    largest = 0.0
    for block in tensor.blocks():
        low, high = torch.aminmax(block)
        largest = max(largest, -float(low), float(high), key=_nan_last)
        yield block.to(torch.float16)
    if not math.isfinite(largest):
        converted.not_finite.append(tensor.name)
        return
    converted.largest = max(converted.largest, largest)
    if largest >= FLOAT16_OVERFLOW:
        converted.overflowing.append(tensor.name)


def _nan_last(value: float) -> tuple[bool, float]:
    """Sort key under which NaN exceeds every number, so that `max` does not lose it."""
    return value != value, value


def _place(name: str) -> list[tuple[int, str]]:
    """Sort key: embeddings, layers by number, final norm, output layer."""
    outer = 0 if "embed" in name else 2 if "lm_head" in name else 1
    return [(outer, "")] + [(int(part), "") if part.isdigit() else (10**9, part) for part in name.split(".")]
