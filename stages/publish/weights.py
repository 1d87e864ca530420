"""Cast safetensors to float16 tensor by tensor, into files of a bounded size.

In: a folder with `model.safetensors`, or several files and `model.safetensors.index.json`. Out: the same names
in float16, at most `max_bytes` of tensors a file. Memory holds the tensors of one file, never the model.
What can go wrong: a missing or damaged file, a tensor larger than a file may be. A value that float16 cannot hold
(above 65,504) is written as infinity and reported: the gate `weights_fit_float16` then refuses the folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.errors import DataError, UserError
from stages.progress import progress
from stages.storage import read_json, write_json

if TYPE_CHECKING:
    import torch

MODEL = "model.safetensors"
ADAPTER = "adapter_model.safetensors"
BYTES_PER_VALUE = 2
FILE_MODE = 0o644
"""safetensors writes files that only their owner may read; published ones are for everybody."""


@dataclass(frozen=True)
class Stored:
    """Where a tensor is stored, and how many values it has."""

    name: str
    file: Path
    values: int


@dataclass
class Converted:
    """What a conversion wrote and met."""

    parameters: int = 0
    bytes: int = 0
    files: list[str] = field(default_factory=list)
    largest: float = 0.0
    """The largest absolute value of all finite weights, before the cast."""
    overflowing: list[str] = field(default_factory=list)
    """Tensors with a value that is not finite in float16."""


def stored_tensors(folder: Path, single: str = MODEL) -> list[Stored]:
    """The tensors of a folder in the order of the network, read from the files' headers alone."""
    index = folder / f"{single}.index.json"
    names = sorted(set(read_json(index)["weight_map"].values())) if index.exists() else [single]
    found: list[Stored] = []
    for name in names:
        with _opened(folder / name) as tensors:
            found += [
                Stored(key, folder / name, _product(tensors.get_slice(key).get_shape()))
                for key in tensors.keys()  # noqa: SIM118 - not a mapping
            ]
    return sorted(found, key=lambda stored: _place(stored.name))


def plan(tensors: list[Stored], max_bytes: int) -> list[list[Stored]]:
    """The tensors of each file, in order. Raises `UserError` for a tensor that no file can hold."""
    files: list[list[Stored]] = [[]]
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


def convert(source: Path, folder: Path, max_bytes: int, single: str = MODEL) -> Converted:
    """Write the tensors of `source` to `folder` in float16, with an index when there are several files."""
    files = plan(stored_tensors(source, single), max_bytes)
    converted = Converted()
    weight_map: dict[str, str] = {}
    for number, tensors in enumerate(progress(files, f"{single} to float16", unit="file"), 1):
        name = single if len(files) == 1 else f"{single[:-12]}-{number:05d}-of-{len(files):05d}.safetensors"
        save(folder / name, {tensor.name: _cast(tensor, converted) for tensor in tensors})
        converted.files.append(name)
        weight_map |= dict.fromkeys((tensor.name for tensor in tensors), name)
    converted.bytes = converted.parameters * BYTES_PER_VALUE
    if len(files) > 1:
        write_json(
            folder / f"{single}.index.json",
            {"metadata": {"total_size": converted.bytes}, "weight_map": weight_map},
        )
    return converted


def save(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """One safetensors file as transformers expects it, readable by everybody."""
    from safetensors.torch import save_file

    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(FILE_MODE)


def tensor_dtypes(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and dtype (F16, F32 …) of every tensor in every safetensors file below `folder`, from the headers."""
    for path in sorted(folder.rglob("*.safetensors")):
        with _opened(path) as tensors:
            for key in tensors.keys():  # noqa: SIM118 - not a mapping
                yield key, tensors.get_slice(key).get_dtype()


def _cast(tensor: Stored, converted: Converted) -> torch.Tensor:
    """One tensor in float16, counted."""
    import torch

    with _opened(tensor.file) as tensors:
        values = tensors.get_tensor(tensor.name)
    half = values.to(torch.float16).contiguous()
    converted.parameters += tensor.values
    if tensor.values:
        low, high = torch.aminmax(values)
        largest = max(-float(low), float(high))
        converted.largest = max(converted.largest, largest) if math.isfinite(largest) else converted.largest
    if not bool(torch.isfinite(half).all()):
        converted.overflowing.append(tensor.name)
    return half


def _place(name: str) -> list[tuple[int, str]]:
    """Sort key: embeddings, layers by number, final norm, output layer."""
    outer = 0 if "embed" in name else 2 if "lm_head" in name else 1
    return [(outer, "")] + [(int(part), "") if part.isdigit() else (10**9, part) for part in name.split(".")]


def _product(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """`safe_open` whose errors say which file, and what to do."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataError(f"{path} does not exist", "run `dvc repro` for the stage that trains the model")
    try:
        opened = safe_open(path, framework="pt")
    except SafetensorError as error:
        raise DataError(
            f"{path} is not a whole safetensors file: {error}",
            f"remove {path.parent} and run `dvc repro`, which makes it again",
        ) from None
    with opened as tensors:
        yield tensors
