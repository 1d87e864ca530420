"""Models in files of bounded size: how tensors are divided, what the files and the index are called."""

from __future__ import annotations

import itertools
from pathlib import Path

import hypothesis.strategies as st
import torch
from hypothesis import given
from safetensors.torch import load_file

from gptoss.core.atomic_files import read_json, sha256_file
from gptoss.tables.safetensors_shards import split_into_files, write_safetensors


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=20), max_bytes=st.integers(1, 100))
def test_files_keep_the_order_and_the_limit(sizes: list[int], max_bytes: int) -> None:
    by_name = {str(number): size for number, size in enumerate(sizes)}
    files = split_into_files(by_name, max_bytes)
    assert [name for names in files for name in names] == list(by_name)
    for names in files:
        assert len(names) == 1 or sum(by_name[name] for name in names) <= max_bytes
    for names, following in itertools.pairwise(files):
        assert sum(by_name[name] for name in (*names, following[0])) > max_bytes, "a file has room for the next tensor"


def test_several_files_have_an_index_and_a_single_one_has_none(tmp_path: Path) -> None:
    values = {name: torch.full((4,), float(number)) for number, name in enumerate("abc")}
    tensors = dict.fromkeys(values, (torch.float32, (4,)))
    for folder, max_bytes, files in (("one", 48, 1), ("two", 32, 2)):
        (tmp_path / folder).mkdir()
        checksums = write_safetensors(
            tmp_path / folder, tensors, lambda name: [values[name]], max_bytes, description="test"
        )
        assert checksums == {path.name: sha256_file(path) for path in sorted((tmp_path / folder).glob("*.safetensors"))}
        assert len(checksums) == files
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["model.safetensors"]
    index = read_json(tmp_path / "two" / "model.safetensors.index.json")
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    assert index == {"metadata": {"total_size": 48}, "weight_map": {"a": first, "b": first, "c": second}}
    assert torch.equal(load_file(tmp_path / "two" / second)["c"], values["c"])
