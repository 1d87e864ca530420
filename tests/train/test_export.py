"""Export from a checkpoint: in less memory than the model needs, and equal to what was saved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file

from gptoss.core.atomic_files import read_json, sha256_file, write_json
from gptoss.train.checkpoint import MANIFEST
from gptoss.train.export import CheckpointWeights
from tests.conftest import ROOT

LIMITED = """
import json, resource, sys
import psutil, torch
from gptoss.cli.__main__ import main
from gptoss.core.memory import peak_memory
from gptoss.train import export  # loads what the command loads, before the limit is set
torch.zeros(64, 64) @ torch.zeros(64, 64)
memory = psutil.Process().memory_info()
limit = memory.data + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
code = main(["export", *sys.argv[2:]])
print(json.dumps({"grown": peak_memory() - memory.rss}))
sys.exit(code)
"""


def write_checkpoint(folder: Path, tensors: int, values: int) -> dict[str, torch.Tensor]:
    """A checkpoint of `tensors` weights of `values` float32 values, and of some optimizer state."""
    generator = torch.Generator().manual_seed(1)
    weights = {f"layers.{n}.weight": torch.randn(4, values // 4, generator=generator) for n in range(tensors)}
    state = {f"model.{name}": value for name, value in weights.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(state | {"exp_avg.layers.0.weight": torch.zeros(4)}, checkpoint_id=folder, no_dist=True)
    files = {path.name: sha256_file(path) for path in folder.iterdir()}
    write_json(folder / MANIFEST, {"step": 1, "files": files, "config": {"model_type": "llama", "dtype": "float32"}})
    return weights


def run(*arguments: object, limit: int = 2**40) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *map(str, arguments)], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow
def test_a_model_larger_than_memory_is_exported_shard_by_shard(tmp_path: Path) -> None:
    """240 MB of weights under a limit of 100 MB more than an idle process, and within two shards of 32 MB."""
    values, shard = 2**20, 32 * 2**20
    weights = write_checkpoint(tmp_path / "step-00000001", 60, values)
    done = run(tmp_path / "step-00000001", tmp_path / "out", "--max-shard-bytes", shard, limit=100 * 2**20)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["grown"] < 2 * shard
    index = read_json(tmp_path / "out" / "model.safetensors.index.json")
    assert index["metadata"]["total_size"] == 2 * 60 * values and set(index["weight_map"]) == set(weights)
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(files) == 4 and max(file.stat().st_size for file in files) < shard + 2**16
    for file in files:
        for name, value in load_file(file).items():
            assert index["weight_map"][name] == file.name
            assert torch.equal(value, weights[name].half()), name
    assert read_json(tmp_path / "out" / "config.json") == {"model_type": "llama", "dtype": "float16"}


def test_layers_are_in_order_and_damage_or_overflow_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "step-00000001"
    write_checkpoint(folder, 11, 8)
    assert list(CheckpointWeights(folder).sizes) == [f"layers.{n}.weight" for n in range(11)]
    data = next(folder.glob("*.distcp"))
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    done = run(folder, tmp_path / "out")
    assert done.returncode == 3 and f"{data.name} does not match its checksum" in done.stderr
    assert not (tmp_path / "out").exists()
