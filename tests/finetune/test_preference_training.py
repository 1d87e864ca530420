"""Preferences are learned from ranked replies; a resumed run gives the same bytes and needs the same data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.tracking.mlflow_run import StageRun
from stages.instruct import instruct
from tests.finetune.chats import asked, reply
from tests.publish.toy import make_published_base, toy_settings, tree, write_lines


def write_trees(count: int = 12, worst: str = "No no") -> Path:
    trees = [{"prompt": asked(f"Question {n}", reply(0, f"Yes {n}."), reply(1, f"{worst} {n}."))} for n in range(count)]
    return write_lines(Path("trees.jsonl"), trees)


@pytest.fixture
def toy(workspace: Path, settings_with: Callable[..., Settings]) -> Settings:
    preference = {"data": [str(write_trees())], "beta": 0.1, "learning_rate": 0.003, "epochs": 5}
    settings = toy_settings(settings_with, **{"instruct.epochs": 1, "instruct.preference": preference})
    make_published_base(settings.name)
    return settings


def stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def stop_after_checkpoint(patched: pytest.MonkeyPatch, step: int) -> None:
    """As if the process were killed right after the checkpoint of the preference's `step` was complete."""
    from gptoss.finetune import training

    mark_complete = training.mark_complete

    def mark_and_stop(checkpoint: Path) -> None:
        mark_complete(checkpoint)
        if "preference" in checkpoint.parts and checkpoint.name == f"checkpoint-{step}":
            stop()

    patched.setattr(training, "mark_complete", mark_and_stop)


@pytest.mark.slow
def test_a_stopped_run_continues_to_the_same_bytes(toy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gptoss.finetune.training.CHECKPOINT_EVERY", 4)
    uninterrupted_metrics: Any = instruct(toy, StageRun("instruct", "uninterrupted"))
    uninterrupted = tree(paths.INSTRUCT)
    last = max(int(path.name.rpartition("-")[2]) for path in Path(".runs").glob("*/preference/*/checkpoint-*"))
    for step in (4, last):
        with monkeypatch.context() as patched:
            stop_after_checkpoint(patched, step)
            with pytest.raises(KeyboardInterrupt):
                instruct(toy, StageRun("instruct", f"stopped-{step}"))
        assert instruct(toy, StageRun("instruct", f"stopped-{step}")) == uninterrupted_metrics
        assert tree(paths.INSTRUCT) == uninterrupted
    assert not any("ref" in path.name for path in Path(".runs").glob("*/preference/*/checkpoint-*/*"))


def test_edited_pairs_are_learned_from_the_start(toy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("gptoss.finetune.adapters.save", stop)
        with pytest.raises(KeyboardInterrupt):
            instruct(toy, StageRun("instruct", "edited"))
    write_trees(worst="Never")
    instruct(toy, StageRun("instruct", "edited"))
    edited = tree(paths.INSTRUCT)
    instruct(toy, StageRun("instruct", "fresh"))
    assert edited == tree(paths.INSTRUCT)


def test_one_gpu_of_eight_is_used(toy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise trl does not start."""
    from gptoss.finetune import preference_training

    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    arguments = preference_training._arguments(toy.instruct, toy.seed, Path("state"))
    assert (arguments.n_gpu, arguments.train_batch_size) == (1, toy.instruct.batch_size)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_preferences_are_learned_and_reproducible(toy: Settings, method: str) -> None:
    forged = {"prompt": asked("Why?", reply(0, "a<|im_end|>"), reply(1, "b"))}
    write_lines(Path("trees.jsonl"), [*map(json.loads, Path("trees.jsonl").read_text().splitlines()), forged])
    toy = toy.model_copy(update={"instruct": toy.instruct.model_copy(update={"method": method})})
    results = []
    for state in ("one", "two"):
        metrics: Any = instruct(toy, StageRun("instruct", state))
        assert metrics["preference"]["pairs"] == 12
        assert metrics["preference"]["accuracy"] >= 0.8
        assert metrics["preference"]["rejected"] == 1
        results.append(tree(paths.INSTRUCT))
    assert results[0] == results[1]
    assert not any("ref" in name for name in results[0])
    account = read_json(paths.INSTRUCT / "conversations.json")["preference"]
    assert account["files"] == {"trees.jsonl": {"used": 12, "rejected": 1}}
    assert account["rejected"][0]["detail"] == "the assistant spells out <|im_end|>"
