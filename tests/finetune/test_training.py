"""The whole stage on a toy model: outputs, determinism, and resuming after SIGKILL."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import DataError, UserError
from gptoss.finetune.records import CURVE
from gptoss.tracking.mlflow_run import StageRun
from stages.instruct import instruct
from tests.publish.toy import ROOT, make_published_base, toy_settings, tree, write_lines

RUN = """
import sys, time
from pathlib import Path
from gptoss.config.yaml_sections import check, load_yaml
from gptoss.config.settings import Settings
from gptoss.finetune.records import CURVE
from gptoss.tracking.mlflow_run import StageRun
from gptoss.finetune import training
from stages.instruct import instruct

training.CHECKPOINT_EVERY = 20
class Slow(StageRun):
    def log_metrics(self, values, step=None):
        time.sleep(float(sys.argv[1]))
instruct(check(Settings, load_yaml(Path("params.yaml")), origin="params.yaml"), Slow("instruct"))
"""


@pytest.fixture
def toy(settings_with: Callable[..., Settings]) -> Settings:
    return toy_settings(settings_with, **{"instruct.epochs": 1})


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def outputs() -> dict[str, str]:
    return tree(paths.INSTRUCT) | tree(CURVE.parent)


def test_outputs_and_metrics(workspace: Path, toy: Settings) -> None:
    base = make_published_base(toy.name)
    metrics: Any = instruct(toy, StageRun("instruct"))
    files = set(tree(paths.INSTRUCT))
    assert files >= {"adapter/adapter_model.safetensors", "adapter/adapter_config.json", "conversations.json"}
    assert files >= {f"merged/{name}" for name in ("model.safetensors", "config.json", "tokenizer.json")}
    template = (paths.INSTRUCT / "merged/chat_template.jinja").read_text()
    assert template.endswith((base / "chat_template.jinja").read_text())
    assert toy.instruct.system_prompt in template
    assert read_json(paths.INSTRUCT / "merged/config.json")["dtype"] == "float32"
    assert read_json(paths.INSTRUCT / "adapter/adapter_config.json")["base_model_name_or_path"] == "gpt-oss/20B"
    account = read_json(paths.INSTRUCT / "conversations.json")
    assert sum(account["counts"][key] for key in ("train", "held_out", "dropped")) == 413 + 82
    assert len(account["held_out_ids"]) == account["counts"]["held_out"]
    assert metrics["held_out"]["loss"] < metrics["held_out"]["loss_before"] - 1
    embeddings, linear = 2 * 384 * 32, 3 * 32 * 32 + 3 * 32 * 64
    adapter = 16 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 64))
    assert metrics["parameters"] == {
        "trained": embeddings + 2 * adapter,
        "total": embeddings + 2 * (linear + 64) + 32,
    }
    with open(CURVE, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert int(rows[-1]["step"]) == metrics["steps"]
    assert float(rows[-1]["held_out_loss"]) == pytest.approx(metrics["held_out"]["loss"], abs=1e-5)
    assert all(row["held_out_loss"] == "" for row in rows[:-1])


def test_merged_is_base_and_adapter(workspace: Path, toy: Settings) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = make_published_base(toy.name)
    instruct(toy, StageRun("instruct"))
    merged = AutoModelForCausalLM.from_pretrained(paths.INSTRUCT / "merged")
    adapted = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), paths.INSTRUCT / "adapter"
    )
    assert merged.dtype == torch.float32
    ids = torch.arange(4, 60)[None]
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, adapted(ids).logits, atol=1e-4, rtol=1e-4)


def test_two_runs_give_the_same_bytes(workspace: Path, toy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for name in ("first", "second"):
        Path(name).mkdir()
        monkeypatch.chdir(workspace / name)
        make_published_base(toy.name)
        instruct(toy, StageRun("instruct"))
        results.append(outputs())
        monkeypatch.chdir(workspace)
    assert results[0] == results[1]


def test_full_fine_tuning_leaves_no_adapter(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    settings = toy_settings(settings_with, **{"instruct.epochs": 1, "instruct.method": "full"})
    make_published_base(settings.name)
    metrics: Any = instruct(settings, StageRun("instruct"))
    assert metrics["parameters"]["trained"] == metrics["parameters"]["total"]
    assert not (paths.INSTRUCT / "adapter").exists()


def test_a_missing_base_says_how_to_make_it(workspace: Path, toy: Settings) -> None:
    with pytest.raises(UserError, match="gpt-oss/20B holds no published base model") as caught:
        instruct(toy, StageRun("instruct"))
    assert "dvc repro publish@base" in caught.value.fix


def test_divergence_is_an_error_and_keeps_what_was_there(
    workspace: Path, settings_with: Callable[..., Settings]
) -> None:
    settings = toy_settings(settings_with, **{"instruct.epochs": 1, "instruct.learning_rate": 1e30})
    make_published_base(settings.name)
    write_lines(paths.INSTRUCT / "earlier.jsonl", [])
    with pytest.raises(DataError, match="training diverged"):
        instruct(settings, StageRun("instruct"))
    assert list(tree(paths.INSTRUCT)) == ["earlier.jsonl"]


def test_a_run_stopped_after_training_only_writes(
    workspace: Path, toy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_published_base(toy.name)
    instruct(toy, StageRun("instruct", "uninterrupted"))
    uninterrupted = outputs()

    with monkeypatch.context() as patched:
        patched.setattr("gptoss.finetune.adapters.save", stop)
        with pytest.raises(KeyboardInterrupt):
            instruct(toy, StageRun("instruct", "stopped"))
    with monkeypatch.context() as patched:
        patched.setattr("transformers.Trainer.training_step", stop)
        instruct(toy, StageRun("instruct", "stopped"))
    assert outputs() == uninterrupted


def test_one_gpu_of_eight_is_used(workspace: Path, toy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the batch is eight times as large, with fewer steps and another model."""
    from gptoss.finetune import training

    make_published_base(toy.name)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    arguments = training.use_one_gpu(training._arguments(toy.instruct, 1, workspace))
    assert (arguments.n_gpu, arguments.train_batch_size) == (1, toy.instruct.batch_size)
    seen = []
    monkeypatch.setattr("transformers.Trainer.train", lambda trainer, **_: seen.append(trainer.args.n_gpu) or stop())
    with pytest.raises(KeyboardInterrupt):
        instruct(toy, StageRun("instruct"))
    assert seen == [1]


def start(folder: Path, seconds_a_log: float) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen([sys.executable, "-c", RUN, str(seconds_a_log)], cwd=folder, env=environment)


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_bytes(
    workspace: Path, toy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = {}
    for name in ("uninterrupted", "killed"):
        folder = workspace / name
        folder.mkdir()
        (folder / "params.yaml").write_text(toy.model_dump_json(by_alias=True))
        monkeypatch.chdir(folder)
        make_published_base(toy.name)
        if name == "killed":
            process = start(folder, 1.0)
            deadline = time.monotonic() + 120
            while not list(folder.glob(".runs/*/trainer/*/checkpoint-20/complete")):
                assert process.poll() is None and time.monotonic() < deadline, "no checkpoint before the run ended"
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            assert not paths.INSTRUCT.exists()
            half_written = next(folder.glob(".runs/*/trainer/*")) / "checkpoint-30"
            half_written.mkdir()
            (half_written / "optimizer.pt").write_bytes(b"cut")
        assert start(folder, 0.0).wait() == 0
        results[name] = outputs()
    assert results["killed"] == results["uninterrupted"]
