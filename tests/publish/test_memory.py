"""Publishing under a memory limit smaller than the model: weights, gates and all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

LAYERS, HIDDEN, FFN = 10, 512, 4096
SHARD = 50_000_000
LIMIT = 250_000_000
"""Bytes of memory that publishing finds free; the float32 weights have more. The memory it uses is measured: a
limit of the kernel (RLIMIT_DATA) would count the files that are mapped, whether or not they are in memory."""

PROGRAM = """
import json, sys
import psutil, torch, transformers
from transformers import AutoModelForCausalLM  # loads what a stage loads
from transformers.models.llama import modeling_llama
from gptoss.core.memory import peak_memory
from gptoss.publish import model_outputs
from stages.publish import publish
from gptoss.config.settings import load_settings
from gptoss.tracking.mlflow_run import StageRun

torch.zeros(64, 64) @ torch.zeros(64, 64)
base = psutil.Process().memory_info()
model_outputs.available_memory = lambda: int(sys.argv[1])
metrics = publish(load_settings(), StageRun("publish@base"), "base")
print(json.dumps({"base": base.rss, "peak": peak_memory(), "metrics": metrics}))
"""


def write_large_model(folder: Path) -> int:
    """A random float32 Llama in several files, written without holding it; returns the bytes of its weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from gptoss.tables.safetensors_shards import write_safetensors
    from tests.publish.toy import CONTEXT, VOCABULARY

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=FFN, num_hidden_layers=LAYERS,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5,
        tie_word_embeddings=False, bos_token_id=0, eos_token_id=0, pad_token_id=1, architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in LlamaForCausalLM(config).state_dict().items()}
    folder.mkdir(parents=True)
    config.save_pretrained(folder)
    generator = torch.Generator().manual_seed(0)

    def values(name: str) -> list[torch.Tensor]:
        drawn = torch.randn(shapes[name], generator=generator) * 0.02
        return [torch.ones(shapes[name]) if "norm" in name else drawn]

    tensors = {name: (torch.float32, shape) for name, shape in shapes.items()}
    write_safetensors(folder, tensors, values, 2 * SHARD, description="toy model")
    return sum(4 * torch.Size(shape).numel() for shape in shapes.values())


@pytest.mark.slow
def test_a_model_larger_than_the_memory_limit_is_published(workspace: Path) -> None:
    import shutil

    import yaml

    from gptoss.config.yaml_sections import load_yaml
    from gptoss.core import paths
    from tests.publish.toy import CONTEXT, VOCABULARY, make_shards, make_tokenizer

    make_tokenizer(paths.TOKENIZER)
    make_shards()
    weights = write_large_model(paths.PRETRAINED)
    assert weights > LIMIT
    shutil.copyfile(ROOT / "LICENSE", "LICENSE")
    values = load_yaml(ROOT / "profiles" / "tiny.yaml")
    values["model"] |= {"hidden_size": HIDDEN, "layers": LAYERS, "ffn_size": FFN, "context": CONTEXT}
    values["tokenizer"]["vocab_size"] = VOCABULARY
    values["publish"]["max_shard_bytes"] = SHARD
    values["instruct"]["max_length"] = CONTEXT
    Path("params.yaml").write_text(yaml.safe_dump(values))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(LIMIT)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print({"weights_mb": weights / 1e6, "over_base_mb": (found["peak"] - found["base"]) / 1e6})
    assert found["metrics"]["gates"]["kl_float32_float16"] < 1e-3
    assert found["metrics"]["files"] > 2
    assert (
        "base: 0.3 GB of weights, 0.2 GB of free memory: its layers are read from disk one after the other"
        in done.stderr
    )
    assert found["peak"] - found["base"] < 0.75 * weights  # with the mapped pages, which nothing evicts here
    assert found["peak"] < 2 * SHARD + 1_000_000_000
