"""safetensors files block by block: compatible with the library, and damaged files are an error."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gptoss.core.errors import DataError
from gptoss.tables.safetensors_files import SafetensorsWriter, read_header

TENSORS: dict[str, torch.Tensor] = {
    "embed": torch.arange(60, dtype=torch.float16).reshape(12, 5),
    "flags": torch.tensor([True, False, True]),
    "norm": torch.tensor([1.5, float("inf"), -2.0], dtype=torch.bfloat16),
    "scalar": torch.tensor(7, dtype=torch.int64),
    "nothing": torch.empty(0, 4),
}


def declared(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}


def write(path: Path, tensors: dict[str, torch.Tensor]) -> str:
    with SafetensorsWriter(path, declared(tensors)) as writer:
        for name, tensor in tensors.items():
            writer.write(name, tensor.split(5) if name == "embed" else tensor)
    return writer.sha256


def test_files_are_exchanged_with_the_library_in_both_directions(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    assert write(path, TENSORS) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.stat().st_mode & 0o777 == 0o644
    found = load_file(path)
    assert read_header(path)[0].name == "embed"
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name
    save_file(TENSORS, tmp_path / "theirs.safetensors")
    for stored in read_header(tmp_path / "theirs.safetensors"):
        whole = torch.cat([torch.empty(0, dtype=TENSORS[stored.name].dtype), *stored.blocks(max_bytes=7)])
        assert torch.equal(whole.reshape(stored.shape), TENSORS[stored.name]), stored.name


def test_a_view_of_another_tensor_is_written_in_row_major_order(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    transposed = TENSORS["embed"].T
    write(path, {"transposed": transposed})
    assert torch.equal(load_file(path)["transposed"], transposed)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("b", torch.zeros(2), "the next tensor is a, not b"),
        ("a", torch.zeros(2, dtype=torch.float16), "declared torch.float32, a block of it is torch.float16"),
        ("a", torch.zeros(3), r"declared \[2\], 2 values, not 3"),
        (None, None, "a was declared and not written"),
    ],
)
def test_undeclared_tensors_and_values_are_an_error(
    tmp_path: Path, name: str | None, values: Any, message: str
) -> None:
    def attempt() -> None:
        with SafetensorsWriter(tmp_path / "x", declared({"a": torch.zeros(2), "b": torch.zeros(2)})) as writer:
            if name is not None:
                writer.write(name, values)

    with pytest.raises(ValueError, match=message):
        attempt()


def test_a_full_disk_is_an_error_of_the_writer() -> None:
    writer = SafetensorsWriter(Path("/dev/full"), declared({"a": torch.zeros(2)}))
    with pytest.raises(OSError, match="No space left"):
        writer.write("a", [torch.zeros(1)] * 2)
        writer.close()
    writer.abandon()


def damaged(raw: bytes, **header: Any) -> bytes:
    """The file with another header for `embed`."""
    length = int.from_bytes(raw[:8], "little")
    found = json.loads(raw[8 : 8 + length])
    found["embed"] |= header
    encoded = json.dumps(found).encode()
    return len(encoded).to_bytes(8, "little") + encoded + raw[8 + length :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:5],
        lambda raw: raw[:100],
        lambda raw: raw[:-1],
        lambda raw: raw + b"x",
        lambda raw: b"\xff" * 8 + raw[8:],
        lambda raw: raw[:8] + b"}" + raw[9:],
        lambda raw: damaged(raw, shape=[13, 5]),
        lambda raw: damaged(raw, shape=None),
        lambda raw: damaged(raw, dtype="F7"),
        lambda raw: damaged(raw, data_offsets=[2, 122]),
        lambda raw: damaged(raw, data_offsets=[120, 0]),
    ],
)
def test_an_error_names_the_damaged_file(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "model.safetensors"
    write(path, TENSORS)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"model\.safetensors is not a whole safetensors file"):
        read_header(path)
