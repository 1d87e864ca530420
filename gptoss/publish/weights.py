"""Cast safetensors to float16 block by block, into files of a bounded size.

In: a folder with `model.safetensors`, or several files and `model.safetensors.index.json`. Out: tensors of the same
names in float16, at most `max_bytes` of tensors per file. Memory holds a few blocks of a tensor, whatever the size of
the model; each file is hashed while it is written.

Errors: a missing or damaged file; a tensor that is larger than a file may be. A value that float16 cannot hold is
written as infinity and reported in `Conversion`, as are NaN and infinity in the source: the gate `weights_fit_float16`
then rejects the folder, with all such tensors at once.
References: IEEE 754-2019 (binary16); https://huggingface.co/docs/safetensors (format).
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss.core.atomic_files import read_json
from gptoss.core.errors import UserError
from gptoss.tables.safetensors_files import StoredTensor, read_header
from gptoss.tables.safetensors_shards import write_safetensors

if TYPE_CHECKING:
    import torch

MODEL = "model.safetensors"
ADAPTER = "adapter_model.safetensors"
FLOAT16_BYTES, FLOAT32_BYTES = 2, 4
FLOAT16_MAX = 65504.0
# The smallest value that rounds to infinity: half-way between 65,504 and 65,536, which would be the next float16.
# Comparing with FLOAT16_MAX would reject values that the cast represents.
FLOAT16_OVERFLOW = 65520.0


@dataclass
class Conversion:
    """What a cast wrote, and the values it met."""

    parameters: int = 0
    bytes: int = 0
    files: list[str] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)
    """Hash of each file, computed while it was written."""
    largest_weight: float = 0.0
    """The largest absolute value of all finite weights, before the cast."""
    overflowing: list[str] = field(default_factory=list)
    """Tensors with a finite value that is infinite in float16."""
    not_finite: list[str] = field(default_factory=list)
    """Tensors that held NaN or infinity before the cast."""


def convert(source: Path, folder: Path, max_bytes: int, file_name: str = MODEL) -> Conversion:
    """Write the tensors of `source` to `folder` in float16, with an index when there are several files."""
    import torch

    stored = {tensor.name: tensor for tensor in stored_tensors(source, file_name)}
    check_file_size(stored.values(), max_bytes)
    conversion = Conversion()
    conversion.sha256 = write_safetensors(
        folder, {name: (torch.float16, tensor.shape) for name, tensor in stored.items()},
        lambda name: _cast(stored[name], conversion), max_bytes,
        file_name=file_name, description=f"{file_name} to float16",
    )  # fmt: skip
    conversion.files = list(conversion.sha256)
    conversion.bytes = conversion.parameters * FLOAT16_BYTES
    return conversion


def convert_adapter(source: Path, folder: Path, conversion: Conversion) -> None:
    """Write the low-rank adapter in float16 to `folder/adapter`, if there is one.

    Its hashes and faults are added to `conversion`, its parameters are not: they are merged into those of the model.
    """
    if not source.is_dir():
        return
    (folder / "adapter").mkdir()
    # One file always: peft does not read an adapter that is split.
    adapter = convert(source, folder / "adapter", max_bytes=2**63, file_name=ADAPTER)
    conversion.sha256 |= {f"adapter/{name}": value for name, value in adapter.sha256.items()}
    conversion.largest_weight = max(conversion.largest_weight, adapter.largest_weight)
    conversion.overflowing += adapter.overflowing
    conversion.not_finite += adapter.not_finite
    shutil.copyfile(source / "adapter_config.json", folder / "adapter" / "adapter_config.json")


def stored_tensors(folder: Path, file_name: str = MODEL) -> list[StoredTensor]:
    """Return the tensors of a folder in the order of the network, from the headers of its files."""
    index = folder / f"{file_name}.index.json"
    names = sorted(set(read_json(index)["weight_map"].values())) if index.exists() else [file_name]
    return sorted((tensor for name in names for tensor in read_header(folder / name)), key=_network_order)


def tensor_dtypes(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield name and dtype (F16, F32 …) of every tensor in every safetensors file below `folder`, from the headers."""
    for path in sorted(folder.rglob("*.safetensors")):
        for tensor in read_header(path):
            yield tensor.name, tensor.dtype


def check_file_size(tensors: Iterable[StoredTensor], max_bytes: int) -> None:
    """Raise `UserError` for a tensor that no file can hold."""
    for tensor in tensors:
        tensor_bytes = tensor.values * FLOAT16_BYTES
        if tensor_bytes > max_bytes:
            raise UserError(
                f"{tensor.name} takes {tensor.values} values * {FLOAT16_BYTES} bytes = {tensor_bytes} bytes, "
                f"above publish.max_shard_bytes({max_bytes})",
                f"set publish.max_shard_bytes to {tensor_bytes} or more",
            )


def _cast(tensor: StoredTensor, conversion: Conversion) -> Iterator[torch.Tensor]:
    """Yield the blocks of a tensor in float16; records its size and the values that float16 cannot hold."""
    import torch

    conversion.parameters += tensor.values
    largest = 0.0
    for block in tensor.blocks():
        low, high = torch.aminmax(block)  # one pass over memory, where abs().max() takes two and a copy
        # NaN compares false with everything, so `max` alone could drop it.
        largest = max(largest, -float(low), float(high), key=lambda value: (math.isnan(value), value))
        yield block.to(torch.float16)
    if not math.isfinite(largest):
        conversion.not_finite.append(tensor.name)
        return
    conversion.largest_weight = max(conversion.largest_weight, largest)
    if largest >= FLOAT16_OVERFLOW:
        conversion.overflowing.append(tensor.name)


def _network_order(tensor: StoredTensor) -> list[tuple[int, str]]:
    """Sort key: embeddings, layers by number, final norm, output layer. Loaders then read files front to back."""
    # The header of a safetensors file is sorted by name, so the order has to be restored.
    outer = 0 if "embed" in tensor.name else 2 if "lm_head" in tensor.name else 1
    # Layer numbers compare as integers (2 before 10), and before any word.
    parts = [(int(part), "") if part.isdigit() else (10**9, part) for part in tensor.name.split(".")]
    return [(outer, ""), *parts]
