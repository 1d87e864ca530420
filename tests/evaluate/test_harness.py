"""Rows have the scores of lm-eval's stock tasks on the same items, and report limits and cut prompts."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.models.huggingface import HFLM

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import DataError
from gptoss.eval_items.suites import load_baselines, load_suite
from gptoss.evaluate import harness, result_rows
from gptoss.evaluate.published_model import PublishedModel, load
from gptoss.evaluate.statistics import mean_and_stderr
from gptoss.evaluate.tasks import FrozenSubset, ItemList, build_task, read_subsets
from tests.conftest import ROOT
from tests.evaluate.conftest import CONTEXT, make_network, make_tokenizer

STOCK = {
    "mmlu": ("mmlu/default/mmlu_astronomy.yaml", "acc,none"),
    "hellaswag": ("hellaswag/hellaswag.yaml", "acc_norm,none"),
    "arc_challenge": ("arc/arc_challenge.yaml", "acc_norm,none"),
    "winogrande": ("winogrande/default.yaml", "acc,none"),
    "gsm8k": ("gsm8k/gsm8k.yaml", "exact_match,strict-match"),
}

FLOAT16_LOGITS = 0.01
"""Batches and cached keys round float16 logits otherwise; it is the sums that must not."""


def entries(suite: str, task: str) -> list[dict[str, Any]]:
    index = read_json(paths.BENCHMARKS / "index.json")
    return [item for item in index["items"] if (item["suite"], item["task"]) == (suite, task)]


def run(lm: Any, suite: str, name: Any, **changes: Any) -> tuple[Any, dict[str, Any]]:
    task = load_suite(suite).tasks[name].model_copy(update=changes)
    options = {"limit": None, "max_new_tokens": 16}
    return task, harness.run_task(lm, suite, name, task, entries(suite, name), paths.BENCHMARKS, **options)


def stock(lm: Any, name: str, shots: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The task that lm-eval ships, on the project's raw items."""
    import datasets
    import lm_eval
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    def items(suffix: str) -> Any:
        lines = (ROOT / "evals" / "smoke" / f"{name}{suffix}.jsonl").read_text(encoding="utf-8").splitlines()
        return datasets.Dataset.from_list([json.loads(line) for line in lines])

    config = load_yaml(Path(lm_eval.__file__).parent / "tasks" / STOCK[name][0])
    config.pop("tag", None)
    scored = config.get("test_split") or config["validation_split"]
    pool = config.get("fewshot_split") or config["training_split"]
    for split in ("training_split", "validation_split", "test_split"):
        if config.get(split) not in (None, scored, pool):
            config.pop(split)
    if name == "mmlu":  # the stock files name one subject each; these items have several
        config["description"] = config["description"].replace("astronomy", "{{subject.replace('_', ' ')}}")
    config |= {
        "num_fewshot": shots,
        "dataset_path": None,
        "custom_dataset": lambda **_: {scored: items(""), pool: items(".fewshot")},
    }
    if "generation_kwargs" in config:
        config["generation_kwargs"]["max_gen_toks"] = 16
    task = ConfigurableTask(config=config)
    task.set_fewshot_seed(1234)
    lm = HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=lm.batch_size, max_length=lm.max_length)
    results = harness.lm_evaluate(lm=lm, task_dict={"tasks": {name: task}, "groups": {}}, bootstrap_iters=1)
    return results["results"][name], results["samples"][name]


@pytest.mark.parametrize("name", list(STOCK))
def test_scores_equal_the_stock_task(evaluated: Settings, name: Any) -> None:
    lm = harness.language_model(load(paths.published("tiny", "base")), 8)
    task, ours = run(lm, "smoke", name)
    theirs, samples = stock(lm, name, task.shots)
    metric = STOCK[name][1]
    score = mean_and_stderr([sample["scores"][task.metric] for sample in ours["samples"]])
    assert score["value"] == pytest.approx(theirs[metric], abs=1e-6)
    assert score["stderr"] == pytest.approx(theirs[metric.replace(",", "_stderr,")], abs=1e-6)
    samples = [sample for sample in samples if sample["filter"] == metric.partition(",")[2]]
    for our, their in zip(ours["samples"], samples, strict=True):
        assert their["arguments"][0][0].endswith(our["prompt"])
        if "log_likelihoods" in our:
            assert our["log_likelihoods"] == pytest.approx([r[0] for r in their["filtered_resps"]], abs=2e-5, rel=1e-6)
        else:
            assert our["generated"] == their["resps"][0][0]


def test_float16_logits_are_scored_in_float32() -> None:
    """As on a GPU: long answers, with a shared beginning and alone, against sums in float64 of the same logits."""
    import torch

    network = make_network().eval()
    lm = harness.language_model(PublishedModel(network, make_tokenizer(), "float16"), 4)
    prompts = [[*range(10, 60), 200 + n] for n in range(6)] + [[7], [8, 9]]
    requests = [(("", ""), prompt, list(range(300 + n, 340 + n))) for n, prompt in enumerate(prompts)]
    for (found, _), (_, prompt, answer) in zip(lm._loglikelihood_tokens(requests), requests, strict=True):
        with torch.inference_mode():
            logits_TV = network(torch.tensor([[*prompt, *answer][:-1]])).logits[0, len(prompt) - 1 :]
        logprobs_TV = logits_TV.double().log_softmax(dim=-1)
        assert found == pytest.approx(float(logprobs_TV[range(40), answer].sum()), abs=FLOAT16_LOGITS)


def test_whole_prompts_equal_the_stock_ones(evaluated: Settings) -> None:
    lm = harness.language_model(load(paths.published("tiny", "base")), 8)
    for name in ("mmlu", "hellaswag", "winogrande"):
        task = load_suite("smoke").tasks[name]
        (subset,), _ = read_subsets(paths.BENCHMARKS, entries("smoke", name), None)
        ours = build_task(name, task, subset, 16)
        ours.build_all_requests()
        _, samples = stock(lm, name, task.shots)
        theirs = [tuple(arguments) for sample in samples for arguments in sample["arguments"]]
        assert [request.args for request in ours.instances] == theirs


@pytest.mark.parametrize("name", ["hellaswag", "arc_challenge", "winogrande"])
def test_letters_show_every_answer_after_the_same_examples(evaluated: Settings, name: str) -> None:
    task = load_suite("gpt4").tasks[f"{name}_letters"].model_copy(update={"shots": 2})
    (subset,), _ = read_subsets(paths.BENCHMARKS, entries("smoke", name), None)
    built = build_task(f"{name}_letters", task, subset, 16)
    built.build_all_requests()
    beginnings = set()
    for request in built.instances:
        prompt, letter = request.args
        *examples, question = prompt.split("\n\n")
        beginnings.add(tuple(examples))
        answers = built.doc_to_choice(request.doc)
        assert letter.strip() in answers and question.endswith("\nAnswer:")
        assert all(f"\n{answer}. " in question for answer in answers)
    ((first, second),) = beginnings
    assert first[-1] in "ABCD" and second[-1] in "ABCD", "an example ends in its letter"
    assert len(built.instances) == 24 * (2 if name == "winogrande" else 4)


def test_only_an_empty_prompt_is_replaced_by_the_end_of_text(evaluated: Settings) -> None:
    lm = harness.language_model(load(paths.published("tiny", "base")), 64)
    read: list[Any] = []
    lm.model.base_model.register_forward_pre_hook(lambda *given: read.append(given[2]["input_ids"]), with_kwargs=True)
    run(lm, "smoke", "winogrande", shots=0)
    assert read and all(int((tokens[:, 0] == lm.eot_token_id).sum()) == 0 for tokens in read)
    read.clear()
    _, pairs = run(lm, "language", "minimal_pairs")
    assert read and all(bool((tokens[:, 0] == lm.eot_token_id).all()) for tokens in read)
    assert pairs["items"] == len(pairs["samples"]) == 240 and {"answer", "confidence"} <= pairs["samples"][0].keys()


def test_lambada_asks_for_the_last_word(evaluated: Settings) -> None:
    config = load_suite("language").tasks["lambada"]
    subset = FrozenSubset(
        "default", [0], ItemList([{"text": "One two\nthree four"}], ["text"]), ItemList([], ["text"]), False
    )
    built = build_task("lambada", config, subset, 16)
    built.build_all_requests()
    assert built.instances[0].args == ("One two\nthree", " four")
    logged = {"arguments": [built.instances[0].args], "filtered_resps": [(-1.5, True)]}
    assert harness.describe_continuation(logged) == {"target": "four", "answer": "four", "log_likelihoods": [-1.5]}
    logged["filtered_resps"] = [(-9.5, False)]
    assert harness.describe_continuation(logged)["answer"] == ""


def test_a_limit_is_items_per_row_spread_over_the_subjects(evaluated: Settings) -> None:
    subsets, total = read_subsets(paths.BENCHMARKS, entries("gpt4", "mmlu"), 20)
    assert total == 57 * 24
    assert sum(len(subset.positions) for subset in subsets) == 20
    assert len(subsets) == 20, "equal subjects: one item each"
    whole, _ = read_subsets(paths.BENCHMARKS, entries("gpt4", "mmlu"), None)
    assert sum(len(subset.positions) for subset in whole) == total


def test_an_item_is_never_its_own_example(evaluated: Settings) -> None:
    """HellaSwag's examples come from the evaluated split here: the mirror has no other."""
    task = load_suite("gpt4").tasks["hellaswag"]
    (subset,), _ = read_subsets(paths.BENCHMARKS, entries("gpt4", "hellaswag"), None)
    assert subset.pool_is_evaluated
    built = build_task("hellaswag", task, subset, 16)
    built.build_all_requests()
    for request in built.instances:
        prompt, question = request.args[0], built.doc_to_text(request.doc)
        assert prompt.count("\n\n") == task.shots
        assert prompt.count(question) == 1 and prompt.endswith(question)


def test_drop_shows_answers_as_answers(evaluated: Settings) -> None:
    task = load_suite("smoke").tasks["drop"]
    (subset,), _ = read_subsets(paths.BENCHMARKS, entries("smoke", "drop"), None)
    built = build_task("drop", task, subset, 16)
    built.build_all_requests()
    answers = {answer for item in subset.pool for answer in (", ".join(item["answers"][0]),)}
    for request in built.instances:
        example = request.args[0].split("\n\n")[0]
        assert any(example.endswith(f"? {answer}") for answer in answers), example
    score = built.config.process_results
    gold = {"answers": [["12.5"], ["twelve and a half"]]}
    assert score(gold, [" 12.5"]) == {"em": 1.0, "f1": 1.0}
    assert score(gold, ["12"])["em"] == 0.0
    assert score({"answers": [["red", "blue"]]}, ["red"]) == {"em": 0.0, "f1": 0.5}


def test_cut_prompts_are_counted_and_make_the_protocol_differ(evaluated: Settings) -> None:
    model = load(paths.published("tiny", "base"))
    lm = harness.language_model(model, 8)
    _, short = run(lm, "smoke", "winogrande", shots=0)
    assert short["truncated"] == 0
    _, long = run(lm, "smoke", "drop")
    cut = [sample["truncated"] for sample in long["samples"]]
    assert long["truncated"] == sum(cut) > 0
    baselines = load_baselines("gpt4")
    same = load_suite("gpt4").tasks["drop"]
    uncut = long | {"truncated": 0, "longest_answer": {"tokens": 64, "asked": 64}}
    assert result_rows.compare_to_baseline("drop", same, uncut, baselines)["same_protocol"]
    row = result_rows.compare_to_baseline("drop", same, long, baselines)
    assert not row["same_protocol"] and row["value"] == 0.809
    assert f"{sum(cut)} of 24 prompts were cut" in row["note"] and "answers were cut at 16 tokens" in row["note"]
    assert "instead of 64" in result_rows.describe_protocol(same, long)


def test_truncation_is_what_lm_eval_does(evaluated: Settings) -> None:
    """A prompt counts as cut exactly when another beginning changes nothing."""
    lm = harness.language_model(load(paths.published("tiny", "base")), 1)
    assert lm.max_length == CONTEXT
    (subset,), _ = read_subsets(paths.BENCHMARKS, entries("smoke", "arc_challenge"), None)
    built = build_task("arc_challenge", load_suite("smoke").tasks["arc_challenge"], subset, 16)
    built.config.num_fewshot = 0
    built.build_all_requests()
    found = harness.truncated_items(lm, built)
    assert 0 < len(found) < 24
    for request in built.instances:
        changed = copy.deepcopy(request)
        changed.arguments = ("?" + request.args[0][1:], request.args[1])
        before, after = lm.loglikelihood([request, changed], disable_tqdm=True)
        if before == after:
            assert (built.task_name, request.doc_id) in found
        if (built.task_name, request.doc_id) not in found:
            assert before != after


def test_changed_items_are_noticed(evaluated: Settings) -> None:
    (first, *_) = entries("smoke", "arc_challenge")
    path = paths.BENCHMARKS / first["path"]
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DataError, match=r"is not what index\.json says"):
        read_subsets(paths.BENCHMARKS, entries("smoke", "arc_challenge"), None)


def test_standard_error() -> None:
    assert mean_and_stderr([1.0]) == {"value": 1.0, "stderr": None, "n": 1}
    assert mean_and_stderr([0.0, 1.0]) == {"value": 0.5, "stderr": 0.5, "n": 2}


def test_clean_scores(tmp_path: Path) -> None:
    samples = [{"item": str(n), "scores": {"acc": float(n > 1)}} for n in range(4)]
    path = tmp_path / "contamination.json"
    assert result_rows.read_contaminated(path) is None
    assert result_rows.clean_score("gpt4", "gsm8k", "acc", samples, None) is None
    items = [{"suite": "gpt4", "task": "gsm8k", "item": str(n), "documents": 1} for n in (0, 1)]
    path.write_text(json.dumps({"items": items}))
    found = result_rows.read_contaminated(path)
    assert result_rows.clean_score("gpt4", "gsm8k", "acc", samples, found) == {"value": 1.0, "stderr": 0.0, "n": 2}
    assert result_rows.clean_score("smoke", "gsm8k", "acc", samples, found) == mean_and_stderr([0.0, 0.0, 1.0, 1.0])
    assert result_rows.clean_score("gpt4", "gsm8k", "acc", samples[:2], found) is None


def test_bars_become_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock: list[float] = [0.0]
    monkeypatch.setattr(harness.time, "monotonic", lambda: clock[0])
    run_for: Callable[[float], None] = lambda seconds: clock.__setitem__(0, clock[0] + seconds)  # noqa: E731
    with harness.quiet_progress("smoke/mmlu"):
        import sys

        sys.stderr.write("\r 10%")
        run_for(6)
        sys.stderr.write("\r 50%")
        sys.stderr.write("\r 60%")
    assert capsys.readouterr().err == "smoke/mmlu: 50%\n"
