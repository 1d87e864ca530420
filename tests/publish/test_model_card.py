"""The model card: its facts, and the code that it shows."""

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
from gptoss.tracking.mlflow_run import StageRun
from stages.instruct import instruct
from tests.publish.toy import make_inputs, run_publish, toy_settings


@pytest.fixture
def toy(settings_with: Callable[..., Settings]) -> Settings:
    return toy_settings(settings_with, **{"instruct.epochs": 1})


def front_matter(card: str) -> dict[str, Any]:
    """The metadata as the hub's own library reads them; it refuses those it cannot."""
    from huggingface_hub import ModelCard

    found: dict[str, Any] = ModelCard(card, ignore_metadata_errors=False).data.to_dict()
    return found


def test_the_card_of_the_base(workspace: Path, toy: Settings) -> None:
    make_inputs()
    metrics = run_publish(toy)
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
    run_publish(toy)
    instruct(toy, StageRun("instruct"))
    run_publish(toy, "instruct")
    folder = paths.published("20B", "instruct")
    assert read_json(folder / "generation_config.json")["eos_token_id"] == [3, 0]
    assert front_matter((folder / "README.md").read_text(encoding="utf-8"))["base_model"] == "gpt-oss/20B"
    assert {"adapter_model.safetensors", "adapter_config.json"} == {p.name for p in (folder / "adapter").iterdir()}
    for variant in paths.VARIANTS:
        card = (paths.published("20B", variant) / "README.md").read_text(encoding="utf-8")
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
