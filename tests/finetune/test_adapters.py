"""What is trained is float32 over a base in any precision; early stopping keeps the best."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json, write_json
from gptoss.finetune.adapters import load_base, make_trainable, special_token_texts
from gptoss.finetune.chat_template import with_system_prompt
from gptoss.finetune.training import prepare_process
from gptoss.tracking.mlflow_run import StageRun
from stages.instruct import instruct
from tests.publish.toy import make_published_base, toy_settings


def made(settings_with: Callable[..., Settings], **changes: object) -> Settings:
    settings = toy_settings(settings_with, **({"instruct.epochs": 1} | changes))
    make_published_base(settings.name)
    return settings


@pytest.mark.parametrize("method", ["lora", "qlora"])
@pytest.mark.parametrize("embeddings", [True, False])
def test_float32_is_trained_over_a_smaller_base(
    workspace: Path, settings_with: Callable[..., Settings], method: str, embeddings: bool
) -> None:
    import torch

    settings = made(
        settings_with,
        **{
            "instruct.method": method,
            "instruct.base_precision": "bfloat16",
            "instruct.train_embeddings": embeddings,
            "instruct.gradient_checkpointing": True,
        },
    )
    base, _ = load_base(paths.published(settings.name, "base"), settings.instruct)
    model = make_trainable(base, settings.instruct, seed=1)
    kinds = {parameter.dtype for parameter in model.parameters() if parameter.requires_grad}
    assert kinds == {torch.float32}
    frozen = {parameter.dtype for name, parameter in model.named_parameters() if name.endswith("base_layer.weight")}
    assert frozen == {torch.uint8 if method == "qlora" else torch.bfloat16}
    ids = torch.arange(4, 40)[None]
    model(input_ids=ids, labels=ids).loss.backward()
    grads = [p.grad for p in model.parameters() if p.requires_grad and p.grad is not None]
    assert grads and all(grad.dtype == torch.float32 and torch.isfinite(grad).all() for grad in grads)


def test_the_base_is_loaded_where_it_is_trained(
    workspace: Path, settings_with: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    settings = made(settings_with)
    load, places = AutoModelForCausalLM.from_pretrained, []

    def loaded_on_the_cpu(folder: Path, *, device_map: object, **_: object) -> Any:
        places.append(device_map)
        return load(folder)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", loaded_on_the_cpu)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    prepare_process()
    assert "CUBLAS_WORKSPACE_CONFIG" in os.environ
    for gpu in (False, True):
        monkeypatch.setattr("torch.cuda.is_available", lambda gpu=gpu: gpu)
        load_base(paths.published(settings.name, "base"), settings.instruct)
    assert places == [None, {"": 0}]


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_a_small_base_ends_as_a_whole_model(
    workspace: Path, settings_with: Callable[..., Settings], method: str
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    settings = made(
        settings_with,
        **{"instruct.method": method, "instruct.base_precision": "bfloat16", "instruct.packing": True},
    )
    metrics: Any = instruct(settings, StageRun("instruct"))
    assert metrics["held_out"]["loss"] < metrics["held_out"]["loss_before"]
    merged = AutoModelForCausalLM.from_pretrained(paths.INSTRUCT / "merged")
    assert merged.dtype == torch.float32 and not hasattr(merged.config, "quantization_config")


def test_early_stopping_keeps_the_best_and_stops(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    settings = made(
        settings_with,
        **{
            "instruct.epochs": 12,
            "instruct.early_stopping": 2,
            "instruct.learning_rate": 0.05,
            "instruct.packing": True,
        },
    )
    metrics: Any = instruct(settings, StageRun("instruct"))
    rows = [line.split(",") for line in Path("reports/plots/instruct.csv").read_text().splitlines()[1:]]
    losses = [float(row[2]) for row in rows if row[2]]
    assert metrics["held_out"]["loss"] == pytest.approx(min(losses), abs=1e-4)
    if len(losses) < 12:
        assert losses.index(min(losses)) == len(losses) - 3


def test_special_tokens_are_found_without_a_named_role(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    settings = made(settings_with)
    path = paths.published(settings.name, "base") / "tokenizer_config.json"
    write_json(path, {key: value for key, value in read_json(path).items() if "special_tokens" not in key})
    _, tokenizer = load_base(path.parent, settings.instruct)
    assert special_token_texts(tokenizer) == ["<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"]


def test_a_system_prompt_is_added_where_there_is_none(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    settings = made(settings_with, **{"instruct.system_prompt": 'Be "brief".'})
    _, tokenizer = load_base(paths.published(settings.name, "base"), settings.instruct)
    question = [{"role": "user", "content": "Hi"}]
    render = lambda chat: tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)  # noqa: E731
    assert render(question).startswith('<|im_start|>system\nBe "brief".<|im_end|>\n<|im_start|>user\nHi')
    assert render([{"role": "system", "content": "Own."}, *question]).startswith("<|im_start|>system\nOwn.")
    assert with_system_prompt("x", "") == "x"
