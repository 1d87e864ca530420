"""`evaluate_chunk.py SIDE MODEL CHUNK BATCH`: evaluate one chunk of `benchmarks/evaluate.py` and print the result.

Loading the model is not measured. `ours` runs the harness of `stages/evaluate`. `stock` runs the task file that lm-eval
ships with lm-eval's evaluator and adapter, on the same items in the form of the hub.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from measure import Clock

from gptoss.core.atomic_files import read_json, sha256_file

TASKS = {
    "mmlu": "mmlu/default/mmlu_{subset}.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "arc_challenge": "arc/arc_challenge.yaml",
    "winogrande": "winogrande/default.yaml",
    "gsm8k": "gsm8k/gsm8k.yaml",
}
MAX_NEW_TOKENS = 256


def main(side: str, model: Path, chunk: Path, batch_size: int) -> None:
    """Print `{"seconds", "cpu_seconds", "peak_rss_mb", "items": [{score, log_likelihoods, text}]}`."""
    from gptoss.eval_items.suites import load_suite

    name, _, rest = chunk.name.partition("-")
    subset = rest.rpartition("-")[0]
    task = load_suite("gpt4").tasks[name]  # type: ignore[index]
    result = {"ours": ours, "stock": stock}[side](model, chunk, name, subset, task, batch_size)
    print(json.dumps(result))


def ours(model: Path, chunk: Path, name: Any, subset: str, task: Any, batch_size: int) -> dict[str, Any]:
    """Evaluate the frozen items with our harness."""
    from gptoss.evaluate import harness
    from gptoss.evaluate.published_model import load

    lm = harness.language_model(load(model), batch_size)
    entries = [
        {"subset": subset, "split": role, "role": role, "path": f"{role}.parquet", "rows": rows,
         "sha256": sha256_file(chunk / f"{role}.parquet")}
        for role, rows in ((role, len(items)) for role, items in read_json(chunk / "raw.json").items())
    ]  # fmt: skip
    clock = Clock()
    result = harness.run_task(lm, "gpt4", name, task, entries, chunk, limit=None, max_new_tokens=MAX_NEW_TOKENS)
    return {
        **clock.stop(),
        "items": [
            {
                "score": sample["scores"][task.metric],
                "log_likelihoods": sample.get("log_likelihoods", []),
                "text": sample.get("generated", ""),
            }
            for sample in result["samples"]
        ],
    }


def stock(model: Path, chunk: Path, name: str, subset: str, task: Any, batch_size: int) -> dict[str, Any]:
    """Evaluate with lm-eval's task file, evaluator and adapter; the data set is passed in instead of downloaded."""
    import datasets
    import lm_eval
    import torch
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks._yaml_loader import load_yaml

    torch.set_num_threads(1)
    lm = HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=batch_size)
    config = load_yaml(Path(lm_eval.__file__).parent / "tasks" / TASKS[name].format(subset=subset))
    config.pop("tag", None)
    scored = config.get("test_split") or config["validation_split"]
    pool = config.get("fewshot_split") or config["training_split"]
    # lm-eval opens every split that the file names, and only these two are passed in.
    for split in ("training_split", "validation_split", "test_split"):
        if config.get(split) not in (None, scored, pool):
            config.pop(split)
    raw = read_json(chunk / "raw.json")
    splits = {scored: datasets.Dataset.from_list(raw["evaluated"]), pool: datasets.Dataset.from_list(raw["fewshot"])}
    config |= {"num_fewshot": task.shots, "dataset_path": None, "custom_dataset": lambda **_: splits}
    clock = Clock()
    built = ConfigurableTask(config=config)
    built.set_fewshot_seed(1234)  # lm-eval's default
    # One bootstrap sample: standard errors are not part of the comparison.
    results = evaluate(lm=lm, task_dict={"tasks": {name: built}, "groups": {}}, bootstrap_iters=1)
    measured = clock.stop()
    generated = "generation_kwargs" in config and config["output_type"] == "generate_until"
    # A generated answer has one sample per filter; ours uses only the strict one.
    samples = [one for one in results["samples"][name] if not generated or one["filter"] == "strict-match"]
    return {
        **measured,
        "items": [
            {
                "score": float(sample[task.metric]),
                "log_likelihoods": [] if generated else [float(answer[0]) for answer in sample["filtered_resps"]],
                "text": str(sample["resps"][0][0]) if generated else "",
            }
            for sample in samples
        ],
    }


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
