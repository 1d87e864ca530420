"""The published folder end to end, and each gate refusing what it is there to refuse."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import UserError
from gptoss.tracking.mlflow_run import StageRun
from stages.instruct import instruct
from stages.publish import publish
from tests.publish.toy import make_inputs, toy_settings, tree

GATES = {
    "weights_fit_float16", "tensors_float16", "config_as_trained", "loads_stock", "activations_fit_float16",
    "logits_finite", "kl_float32_float16", "tokenizer_as_trained", "tokenizer_round_trip", "vocabulary_fits",
    "chat_template", "checksums",
}  # fmt: skip


@pytest.fixture
def toy(settings_with: Callable[..., Settings]) -> Settings:
    return toy_settings(settings_with, **{"instruct.epochs": 1})


def run(settings: Settings, head: str = "base") -> Any:
    return publish(settings, StageRun(f"publish@{head}"), head)


def test_the_folder_is_whole_and_every_gate_is_measured(workspace: Path, toy: Settings) -> None:
    make_inputs()
    metrics = run(toy)
    folder = paths.published("20B", "base")
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja", "README.md", "LICENSE", "gates.json", "checksums.sha256",
    }  # fmt: skip
    gates = {gate["name"]: gate for gate in read_json(folder / "gates.json")["gates"]}
    assert set(gates) == GATES == set(metrics["gates"])
    assert all(gate["passed"] and gate["value"] <= gate["bound"] for gate in gates.values())
    assert 0 < gates["kl_float32_float16"]["value"] < 1e-4
    config = read_json(folder / "config.json")
    assert (config["architectures"], config["dtype"]) == (["LlamaForCausalLM"], "float16")
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]
    assert subprocess.run(["sha256sum", "-c", "--quiet", "checksums.sha256"], cwd=folder).returncode == 0
    listed = (folder / "checksums.sha256").read_text().splitlines()
    assert len(listed) == len(list(folder.iterdir())) - 1
    assert metrics["parameters"] * 2 == metrics["bytes"]


def test_publishing_twice_gives_the_same_bytes(workspace: Path, toy: Settings) -> None:
    make_inputs()
    run(toy)
    first = tree(paths.published("20B", "base"))
    run(toy)
    assert tree(paths.published("20B", "base")) == first


def test_the_weights_are_the_rounded_master_weights(workspace: Path, toy: Settings) -> None:
    from safetensors.torch import load_file

    make_inputs()
    run(toy)
    master = load_file(paths.PRETRAINED / "model.safetensors")
    published = load_file(paths.published("20B", "base") / "model.safetensors")
    assert set(published) == set(master)
    assert all(bool((published[name] == values.half()).all()) for name, values in master.items())


def test_shards_are_bounded_and_indexed(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    make_inputs(max_shard_size="60KB")  # the source is in several files too
    assert (paths.PRETRAINED / "model.safetensors.index.json").exists()
    settings = toy_settings(settings_with, **{"publish.max_shard_bytes": 30_000})
    metrics = run(settings)
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
        run(settings)


def front_matter(card: str) -> dict[str, Any]:
    """The metadata as the hub's own library reads them; it refuses those it cannot."""
    from huggingface_hub import ModelCard

    found: dict[str, Any] = ModelCard(card, ignore_metadata_errors=False).data.to_dict()
    return found


def test_the_card_of_the_base(workspace: Path, toy: Settings) -> None:
    make_inputs()
    metrics = run(toy)
    card = (paths.published("20B", "base") / "README.md").read_text(encoding="utf-8")
    head = front_matter(card)
    assert (head["license"], head["language"], head["library_name"]) == ("apache-2.0", ["en"], "transformers")
    assert head["pipeline_tag"] == "text-generation"
    assert "base_model" not in head
    assert (
        'model = AutoModelForCausalLM.from_pretrained("gpt-oss/20B", torch_dtype="auto", device_map="auto")\n'
        'tokenizer = AutoTokenizer.from_pretrained("gpt-oss/20B")\n'
    ) in card
    for fact in (f"{metrics['parameters']:,}", "CC-BY-SA-3.0", "public-domain-in-the-US", "4.1M tokens"):
        assert fact in card
    assert "{{" not in card and "{%" not in card


@pytest.mark.slow
def test_both_heads_by_the_snippets_of_their_cards(workspace: Path, toy: Settings) -> None:
    make_inputs()
    run(toy)
    instruct(toy, StageRun("instruct"))
    run(toy, "instruct")
    folder = paths.published("20B", "instruct")
    assert read_json(folder / "generation_config.json")["eos_token_id"] == [3, 0]
    assert front_matter((folder / "README.md").read_text(encoding="utf-8"))["base_model"] == "gpt-oss/20B"
    assert {"adapter_model.safetensors", "adapter_config.json"} == {p.name for p in (folder / "adapter").iterdir()}
    for head in paths.HEADS:
        card = (paths.published("20B", head) / "README.md").read_text(encoding="utf-8")
        snippet = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)[0]
        done = subprocess.run(
            [sys.executable, "-c", snippet],
            cwd=workspace,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip(), json.dumps(snippet)
        assert "token_type_ids" not in done.stderr


def test_a_gguf_file_loads_back_to_the_same_logits(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    make_inputs()
    run(toy_settings(settings_with, **{"publish.gguf": True}))
    folder = paths.published("20B", "base")
    file = "20B-F16.gguf"
    assert f"gguf/{file}" in (folder / "checksums.sha256").read_text()
    text = "The city of Rome is the capital of Italy."
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(text, return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    back = AutoModelForCausalLM.from_pretrained(folder / "gguf", gguf_file=file, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, back(**inputs).logits)
    theirs = AutoTokenizer.from_pretrained(folder / "gguf", gguf_file=file)
    assert theirs.convert_ids_to_tokens(range(len(tokenizer))) == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert theirs.chat_template == tokenizer.chat_template


def test_what_gguf_cannot_hold_is_refused_before_any_work(
    workspace: Path, settings_with: Callable[..., Settings]
) -> None:
    settings = toy_settings(settings_with, **{"publish.gguf": True, "tokenizer.algorithm": "sentencepiece"})
    with pytest.raises(UserError, match=r"publish\.gguf is true and tokenizer\.algorithm is sentencepiece"):
        run(settings)
