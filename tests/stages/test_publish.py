"""The published folder as a whole."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from tests.publish.toy import make_inputs, run_publish, toy_settings, tree

GATES = {
    "weights_fit_float16", "tensors_float16", "config_as_trained", "loads_stock", "activations_fit_float16",
    "logits_finite", "kl_float32_float16", "tokenizer_as_trained", "tokenizer_round_trip", "vocabulary_fits",
    "chat_template", "checksums",
}  # fmt: skip


@pytest.fixture
def toy(settings_with: Callable[..., Settings]) -> Settings:
    return toy_settings(settings_with, **{"instruct.epochs": 1})


def test_the_folder_is_complete_and_every_gate_is_measured(workspace: Path, toy: Settings) -> None:
    make_inputs()
    metrics = run_publish(toy)
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
    run_publish(toy)
    first = tree(paths.published("20B", "base"))
    run_publish(toy)
    assert tree(paths.published("20B", "base")) == first
