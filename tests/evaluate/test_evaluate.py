"""The whole stage: its outputs, equal bytes of two runs, and continuation after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import UserError
from gptoss.evaluate import harness
from gptoss.evaluate.result_rows import CONTAMINATION
from gptoss.evaluate.tasks import FrozenSubset, ItemList, scored_content
from gptoss.tracking.mlflow_run import StageRun
from stages.evaluate import evaluate
from tests.evaluate.conftest import publish

NAMES = ("scores.json", "samples.jsonl", "generations.json")


class RecordingRun(StageRun):
    """Records what is logged."""

    def __init__(self, stage: str = "evaluate@base") -> None:
        super().__init__(stage)
        self.logged: dict[str, float] = {}
        self.files: list[str] = []

    def log_metrics(self, values: Any, step: int | None = None) -> None:
        self.logged |= values

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        self.files.append(path.name)


def written(variant: str = "base") -> dict[str, bytes]:
    return {name: (paths.evaluation(variant) / name).read_bytes() for name in NAMES}


def clear(run: StageRun) -> None:
    for path in run.state.glob("*.json"):
        path.unlink()


def test_every_task_is_a_row_or_has_a_reason(evaluated: Settings) -> None:
    run = RecordingRun()
    metrics = evaluate(evaluated, run, "base")
    scores = read_json(paths.evaluation("base") / "scores.json")
    done = {(row["suite"], row["task"]) for row in scores["rows"]}
    refused = {(row["suite"], row["task"]): row["reason"] for row in scores["not_run"]}
    assert len(done) + len(refused) == 7 + 2 + 10 and not done & set(refused)
    assert done == {("smoke", task) for task in read_suite("smoke") - {"humaneval"}} | {
        ("gpt4", "mmlu"),
        ("gpt4", "hellaswag"),
        ("gpt4", "hellaswag_letters"),
        ("language", "minimal_pairs"),
    }
    assert "execute_code is false" in refused["smoke", "humaneval"]
    assert "the mirror has no test split of openai/gsm8k" in refused["gpt4", "gsm8k"]
    for row in scores["rows"]:
        assert row["n"] == {"smoke": 24, "gpt4": 5, "language": 240}[row["suite"]]
        assert row["limited"] == (row["suite"] == "gpt4")
        assert (row["baseline"] is None) == (row["suite"] != "gpt4")
        assert row["clean"] is None, "decontamination has not run"
        assert row["harness"] == "lm_eval 0.4.13" and len(row["template_sha256"]) == 64
        assert len(row["content_sha256"]) == 64
        assert row["answer_limit"] == (evaluated.evaluate.max_new_tokens if row["task"] in ("drop", "gsm8k") else None)
    assert len(scores["bits_per_byte"]["shards_sha256"]) == 64
    samples = [json.loads(line) for line in (paths.evaluation("base") / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == sum(row["n"] for row in scores["rows"])
    assert metrics["smoke"]["hellaswag"].keys() == {"acc_norm"}
    assert len(metrics["gpt4"]["mmlu_subsets"]) == 5
    assert scores["bits_per_byte"]["model"] == metrics["bits_per_byte"]["model"]
    assert run.files == list(NAMES)
    assert run.logged["seconds.bits_per_byte"] > 0


def test_another_wrong_choice_or_example_is_another_content() -> None:
    item = {"question": "2 + 2", "choices": ["3", "4"], "answer": 1}

    def content(scored: Any, example: Any, shots: int) -> str:
        return scored_content(
            [FrozenSubset("", [0], ItemList([scored], list(item)), ItemList([example], list(item)), False)], shots
        )

    assert content(item, item, 1) == content(dict(item), dict(item), 1)
    assert content(item | {"choices": ["5", "4"]}, item, 1) != content(item, item, 1)
    assert content(item, item | {"question": "1 + 3"}, 1) != content(item, item, 1)
    assert content(item, item | {"question": "1 + 3"}, 0) == content(item, item, 0), "no example is shown"


def read_suite(name: str) -> set[str]:
    from gptoss.eval_items.suites import load_suite

    return set(load_suite(name).tasks)


def test_a_killed_evaluation_continues_and_ends_alike(evaluated: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RecordingRun()
    evaluate(evaluated, run, "base")
    uninterrupted = written()
    clear(run)

    asked: list[str] = []
    real = harness.run_task

    def killed_after_three(lm: Any, suite: str, name: Any, *rest: Any, **options: Any) -> Any:
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(name)
        return real(lm, suite, name, *rest, **options)

    monkeypatch.setattr(harness, "run_task", killed_after_three)
    with pytest.raises(KeyboardInterrupt):
        evaluate(evaluated, run, "base")
    first, asked[:] = list(asked), []
    monkeypatch.setattr(harness, "run_task", lambda *a, **o: (asked.append(a[2]), real(*a, **o))[1])
    evaluate(evaluated, run, "base")
    assert len(first) == 3 and not set(first) <= set(asked[:3])
    assert len(asked) == 7
    assert written() == uninterrupted


def test_clean_scores_are_reported_beside_the_full_ones(evaluated: Settings) -> None:
    items = [{"suite": "smoke", "task": "mmlu", "item": str(n), "documents": 1} for n in range(10)]
    write_json(CONTAMINATION, {"items": items})
    evaluate(evaluated.model_copy(update={"evaluate": without_gpt4(evaluated)}), RecordingRun(), "base")
    rows = {row["task"]: row for row in read_json(paths.evaluation("base") / "scores.json")["rows"]}
    assert rows["mmlu"]["clean"]["n"] == 14
    assert rows["arc_challenge"]["clean"] == {key: rows["arc_challenge"][key] for key in ("value", "stderr", "n")}


def without_gpt4(settings: Settings) -> Any:
    return settings.evaluate.model_copy(update={"suites": ("smoke",)})


def always_predict(token: int) -> Callable[[Any], None]:
    """A network that always_predict predicts the same token."""

    def change(network: Any) -> None:
        network.model.embed_tokens.weight.fill_(1.0)
        for layer in network.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        network.lm_head.weight.zero_()
        network.lm_head.weight[token] = 1.0

    return change


@pytest.mark.parametrize(("token", "continued", "answered"), [(0, True, False), (3, False, True), (70, False, False)])
def test_stopped_means_the_model_ended_by_itself(
    evaluated: Settings, token: int, continued: bool, answered: bool
) -> None:
    from gptoss.evaluate import generations
    from gptoss.evaluate.published_model import load

    model = load(publish("instruct", always_predict(token)))
    encoded = generations.encode_all(model, "instruct", ["The city"], ["Hello!"], 8)
    result = generations.generate(model, encoded, 8)
    (continuation,), (answer,) = result["continuations"], result["answers"]
    assert (continuation["stopped"], answer["stopped"]) == (continued, answered)
    assert (answer["answer"] == "") == answered
    assert "<|im_end|>" not in answer["answer"]
    base = generations.encode_all(model, "base", ["The city"], ["Hello!"], 8)
    assert generations.generate(model, base, 8)["answers"] == []


def test_a_prompt_that_leaves_no_room_is_refused_before_any_work(evaluated: Settings) -> None:
    long = evaluated.evaluate.model_copy(update={"prompts": ("word " * 300,)})
    with pytest.raises(UserError, match=r"evaluate\.prompts\[0\] has \d+ tokens; .* > model\.context\(128\)"):
        evaluate(evaluated.model_copy(update={"evaluate": long}), RecordingRun(), "base")


def test_a_missing_model_or_index_is_named(evaluated: Settings) -> None:
    with pytest.raises(UserError, match=r"gpt-oss/other is not a published model"):
        evaluate(evaluated.model_copy(update={"name": "other"}), RecordingRun(), "base")
    (paths.BENCHMARKS / "index.json").unlink()
    with pytest.raises(UserError, match=r"data/benchmarks/index\.json does not exist"):
        evaluate(evaluated, RecordingRun(), "base")
