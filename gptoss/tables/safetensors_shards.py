"""Write a model as safetensors files of bounded size, with the file names and index that transformers reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gptoss.core.atomic_files import write_json
from gptoss.core.progress import progress
from gptoss.tables.safetensors_files import SafetensorsWriter

if TYPE_CHECKING:
    import torch


def split_into_files(sizes: Mapping[str, int], max_bytes: int) -> list[list[str]]:
    """Names of the tensors in each file, given their bytes; a file holds at most `max_bytes`, or one tensor.

    Files are filled in order rather than packed tightly, so that a layer lies in one or two of them.
    """
    files: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if files[-1] and filled + size > max_bytes:
            files.append([])
            filled = 0
        files[-1].append(name)
        filled += size
    return files


def write_safetensors(
    folder: Path,
    tensors: Mapping[str, tuple[torch.dtype, Sequence[int]]],
    read: Callable[[str], Iterable[torch.Tensor]],
    max_bytes: int,
    *,
    file_name: str = "model.safetensors",
    description: str,
) -> dict[str, str]:
    """Write `tensors` (dtype and shape by name, in order); `read` returns the values of one of them in blocks.

    Returns the SHA-256 of each file by name. Memory holds a few blocks, whatever the size of the model.
    """
    sizes = {name: dtype.itemsize * math.prod(shape) for name, (dtype, shape) in tensors.items()}
    files = split_into_files(sizes, max_bytes)
    stem = file_name.removesuffix(".safetensors")
    checksums: dict[str, str] = {}
    weight_map: dict[str, str] = {}
    for number, names in enumerate(progress(files, description, unit="files"), 1):
        # transformers' naming of several files; it finds them through the index, which a single file does not have.
        file = file_name if len(files) == 1 else f"{stem}-{number:05d}-of-{len(files):05d}.safetensors"
        with SafetensorsWriter(folder / file, {name: tensors[name] for name in names}) as writer:
            for name in names:
                writer.write(name, read(name))
        checksums[file] = writer.sha256
        weight_map |= dict.fromkeys(names, file)
    if len(files) > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}
        write_json(folder / f"{file_name}.index.json", index)
    return checksums
