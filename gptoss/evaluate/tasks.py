"""Benchmark tasks that lm-eval runs on the frozen items: no download, no cache, no dataset library in between.

A task's prompt, choices, stops and metrics are `evals/tasks/FORMAT.yaml` in lm-eval's own form; this module gives
it the items of `data/benchmarks`, the pool of few-shot examples, and which items are scored.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml

from gptoss.core.atomic_files import sha256_file
from gptoss.core.errors import DataError
from gptoss.eval_items.items import content_sha256, item_id, spread
from gptoss.eval_items.suites import Task

TASKS = Path("evals/tasks")
POOL = 128
"""Few-shot candidates when the evaluated split itself must serve."""
SEED = 1234
"""lm-eval's seed for drawing few-shot examples."""

Item = Mapping[str, Any]


class Items(list[Item]):
    """Items as lm-eval wants a split: a sequence that names its columns."""

    def __init__(self, rows: Sequence[Item], columns: Sequence[str]) -> None:
        super().__init__(rows)
        self.features = dict.fromkeys(columns)


@dataclass(frozen=True)
class FrozenSubset:
    """The items of one subset that are scored, where they stand, and the few-shot pool."""

    name: str
    positions: list[int]
    evaluated: Items
    pool: Items
    from_itself: bool
    """Whether the pool is the evaluated split: then an item is kept out of its own prompt."""


class FrozenTask(ConfigurableTask):  # type: ignore[misc]  # lm-eval has no types
    """An lm-eval task over a `FrozenSubset`. Document ids are positions in the frozen split."""

    def __init__(self, config: dict[str, Any], subset: FrozenSubset) -> None:
        self.subset = subset
        super().__init__(config=config)
        if subset.from_itself:
            # lm-eval draws one example more and leaves the scored item out when both splits have the same name.
            self.fewshot_cfg.split = self.config.test_split
        self.set_fewshot_seed(SEED)

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **_: Any) -> None:
        """Hand over what is frozen."""
        self.dataset = {"evaluated": self.subset.evaluated, "fewshot": self.subset.pool}

    def fewshot_docs(self) -> Items:
        """The pool that examples are drawn from."""
        return self.subset.pool

    def doc_iterator(self, **_: Any) -> Iterator[tuple[int, Item]]:
        """The scored items with their positions in the frozen split."""
        return zip(self.subset.positions, self.subset.evaluated, strict=True)


def read_subsets(
    folder: Path, entries: Sequence[Mapping[str, Any]], limit: int | None
) -> tuple[list[FrozenSubset], int]:
    """The scored items of a task and how many there are in all.

    `entries` are the task's files in `index.json`; `limit` items are spread evenly over all subsets together, as a
    micro-average weighs them. Raises `DataError` when a file differs from its checksum."""
    for entry in entries:
        if sha256_file(folder / entry["path"]) != entry["sha256"]:
            raise DataError(f"{folder / entry['path']} is not what index.json says", "run `dvc repro benchmarks`")
    evaluated = [entry for entry in entries if entry["role"] == "evaluated"]
    pools = {entry["subset"]: entry for entry in entries if entry["role"] == "fewshot"}
    total = sum(entry["rows"] for entry in evaluated)
    chosen = spread(total, limit)
    subsets: list[FrozenSubset] = []
    before = 0
    for entry in evaluated:
        positions = [place - before for place in chosen if before <= place < before + entry["rows"]]
        before += entry["rows"]
        if positions:
            subsets.append(_subset(folder, entry, pools.get(entry["subset"]), positions))
    return subsets, total


def _subset(
    folder: Path, entry: Mapping[str, Any], pool: Mapping[str, Any] | None, positions: list[int]
) -> FrozenSubset:
    table = pq.read_table(folder / entry["path"])
    columns = table.schema.names
    examples = table.take(spread(table.num_rows, POOL)) if pool is None else pq.read_table(folder / pool["path"])
    return FrozenSubset(
        entry["subset"],
        positions,
        Items(table.take(positions).to_pylist(), columns),
        Items(examples.to_pylist(), columns),
        from_itself=pool is None,
    )


def scored_content(subsets: Sequence[FrozenSubset], shots: int) -> str:
    """SHA-256 of what the scored items say and, where there are shots, of those that examples are drawn from."""
    scored = [item for subset in subsets for item in subset.evaluated]
    pool = [item for subset in subsets for item in subset.pool] if shots else []
    return hashlib.sha256(f"{content_sha256(scored)} {content_sha256(pool)}".encode()).hexdigest()


def build(name: str, task: Task, subset: FrozenSubset, max_new_tokens: int) -> FrozenTask:
    """The lm-eval task of one subset, with the suite's shots and answers of at most `max_new_tokens`."""
    config = load_yaml(TASKS / f"{name}.yaml")
    config["task"] = f"{name}:{subset.name}"
    config["num_fewshot"] = task.shots
    if "generation_kwargs" in config:
        config["generation_kwargs"]["max_gen_toks"] = min(config["generation_kwargs"]["max_gen_toks"], max_new_tokens)
    return FrozenTask(config, subset)


def answer_tokens(name: str) -> int | None:
    """Tokens that a task allows for a generated answer; None where answers are ranked."""
    kwargs = load_yaml(TASKS / f"{name}.yaml", resolve_func=False).get("generation_kwargs")
    return int(kwargs["max_gen_toks"]) if kwargs else None


def version(name: str) -> float:
    """The version a task file states."""
    return float(load_yaml(TASKS / f"{name}.yaml", resolve_func=False)["metadata"]["version"])


def template_sha256(name: str) -> str:
    """Hash of what makes the prompt and the score: the task's YAML and the modules beside it that it names."""
    config = (TASKS / f"{name}.yaml").read_bytes()
    modules = sorted(set(re.findall(rb"!function (\w+)\.", config)))
    parts = [config, *((TASKS / f"{module.decode()}.py").read_bytes() for module in modules)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def hook(name: str, function: str) -> Callable[..., Any]:
    """A function of `evals/tasks/NAME.py`."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(f"evals.tasks.{name}", TASKS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[..., Any] = getattr(module, function)
    return found


def sample_id(task_name: str, doc_id: int) -> str:
    """The item's name in `texts.parquet`, from an lm-eval task name and document id."""
    return item_id(task_name.partition(":")[2], doc_id)


def canonical(value: Any) -> str:
    """JSON with sorted keys, for hashing and comparing."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
