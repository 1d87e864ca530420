"""The cast to float16, and the files it is written to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import UserError
from gptoss.publish import weights
from tests.publish.toy import make_inputs, run_publish, toy_settings


@pytest.fixture
def toy(settings_with: Callable[..., Settings]) -> Settings:
    return toy_settings(settings_with, **{"instruct.epochs": 1})


def test_the_largest_float16_passes_and_the_next_value_does_not() -> None:
    import torch

    below = torch.nextafter(torch.tensor(weights.FLOAT16_OVERFLOW), torch.tensor(0.0))
    assert float(below.half()) == weights.FLOAT16_MAX
    assert torch.tensor(weights.FLOAT16_OVERFLOW).half().isinf()


def test_the_weights_are_the_rounded_master_weights(workspace: Path, toy: Settings) -> None:
    from safetensors.torch import load_file

    make_inputs()
    run_publish(toy)
    master = load_file(paths.PRETRAINED / "model.safetensors")
    published = load_file(paths.published("20B", "base") / "model.safetensors")
    assert set(published) == set(master)
    assert all(bool((published[name] == values.half()).all()) for name, values in master.items())


def test_shards_are_bounded_and_indexed(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    make_inputs(max_shard_size="60KB")  # the source is in several files too
    assert (paths.PRETRAINED / "model.safetensors.index.json").exists()
    settings = toy_settings(settings_with, **{"publish.max_shard_bytes": 30_000})
    metrics = run_publish(settings)
    folder = paths.published("20B", "base")
    files = sorted(folder.glob("model-*.safetensors"))
    assert [path.name for path in files] == [
        f"model-{n:05d}-of-{len(files):05d}.safetensors" for n in range(1, len(files) + 1)
    ]
    assert metrics["files"] == len(files) > 2
    header = 8 + max(int.from_bytes(path.read_bytes()[:8], "little") for path in files)
    assert max(path.stat().st_size for path in files) <= 30_000 + header
    index = read_json(folder / "model.safetensors.index.json")
    assert index["metadata"]["total_size"] == metrics["bytes"]
    assert set(index["weight_map"].values()) == {path.name for path in files}


def test_a_tensor_larger_than_a_file_is_an_error_with_the_sum(
    workspace: Path, settings_with: Callable[..., Settings]
) -> None:
    make_inputs()
    settings = toy_settings(settings_with, **{"publish.max_shard_bytes": 20_000})
    with pytest.raises(UserError, match=r"12288 values \* 2 bytes = 24576 bytes, above .*max_shard_bytes\(20000\)"):
        run_publish(settings)
