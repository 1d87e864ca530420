"""Benchmark tasks that lm-eval runs on the frozen items, without its downloads, caches and dataset library.

A task's prompt, choices, stops and metrics are `evals/tasks/NAME.yaml` in lm-eval's own form; this module provides the
items of `data/benchmarks`, the pool of few-shot examples, and which items are scored.
"""

from __future__ import annotations

import hashlib
import importlib.util
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
from gptoss.eval_items.frozen_index import FileEntry
from gptoss.eval_items.items import content_sha256, item_id, spread
from gptoss.eval_items.suites import Task

TASKS = Path("evals/tasks")
# Few-shot candidates taken from the evaluated split where no other split has any.
POOL = 128
# lm-eval's default seed for drawing few-shot examples.
SEED = 1234

Item = Mapping[str, Any]


class ItemList(list[Item]):
    """Items in the form that lm-eval expects of a split: a sequence that names its columns."""

    def __init__(self, rows: Sequence[Item], columns: Sequence[str]) -> None:
        super().__init__(rows)
        self.features = dict.fromkeys(columns)


@dataclass(frozen=True)
class FrozenSubset:
    """The items of one subset that are scored, their positions in the frozen split, and the few-shot pool."""

    name: str
    positions: list[int]
    evaluated: ItemList
    pool: ItemList
    pool_is_evaluated: bool
    """True if the pool is the evaluated split: an item is then left out of its own prompt."""


class FrozenTask(ConfigurableTask):  # type: ignore[misc]  # lm-eval has no types
    """An lm-eval task over a `FrozenSubset`. Document ids are positions in the frozen split."""

    def __init__(self, config: dict[str, Any], subset: FrozenSubset) -> None:
        self.subset = subset
        super().__init__(config=config)
        if subset.pool_is_evaluated:
            # lm-eval draws one example more and leaves the scored item out if both splits have the same name.
            self.fewshot_cfg.split = self.config.test_split
        self.set_fewshot_seed(SEED)

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **_: Any) -> None:
        """Use the frozen items in place of a download."""
        self.dataset = {"evaluated": self.subset.evaluated, "fewshot": self.subset.pool}

    def fewshot_docs(self) -> ItemList:
        """The pool that examples are drawn from."""
        return self.subset.pool

    def doc_iterator(self, **_: Any) -> Iterator[tuple[int, Item]]:
        """The scored items with their positions in the frozen split."""
        # lm-eval would number them from 0; the position is the item's name in `texts.parquet` and in samples.
        return zip(self.subset.positions, self.subset.evaluated, strict=True)


def read_subsets(folder: Path, files: Sequence[FileEntry], limit: int | None) -> tuple[list[FrozenSubset], int]:
    """The scored items of a task and how many it has in all.

    `files` are the task's entries in the index of frozen items; `limit` items are spread evenly over all subsets
    together, in proportion to their size, as in a micro-average. Raises `DataError` if a file differs from its
    checksum."""
    for entry in files:
        if sha256_file(folder / entry["path"]) != entry["sha256"]:
            raise DataError(f"{folder / entry['path']} is not what index.json says", "run `dvc repro benchmarks`")
    evaluated = [entry for entry in files if entry["role"] == "evaluated"]
    pools = {entry["subset"]: entry for entry in files if entry["role"] == "fewshot"}
    total = sum(entry["rows"] for entry in evaluated)
    chosen = spread(total, limit)
    subsets: list[FrozenSubset] = []
    first = 0
    for entry in evaluated:
        positions = [position - first for position in chosen if first <= position < first + entry["rows"]]
        first += entry["rows"]
        if positions:
            subsets.append(_read_subset(folder, entry, pools.get(entry["subset"]), positions))
    return subsets, total


def _read_subset(folder: Path, entry: FileEntry, pool: FileEntry | None, positions: list[int]) -> FrozenSubset:
    # A pool from the evaluated split is larger than `shots`, because the scored item is left out of its own prompt.
    table = pq.read_table(folder / entry["path"])
    columns = table.schema.names
    examples = table.take(spread(table.num_rows, POOL)) if pool is None else pq.read_table(folder / pool["path"])
    return FrozenSubset(
        entry["subset"],
        positions,
        ItemList(table.take(positions).to_pylist(), columns),
        ItemList(examples.to_pylist(), columns),
        pool_is_evaluated=pool is None,
    )


def scored_content(subsets: Sequence[FrozenSubset], shots: int) -> str:
    """SHA-256 of the content of the scored items and, if there are shots, of the pool of examples."""
    scored = [item for subset in subsets for item in subset.evaluated]
    pool = [item for subset in subsets for item in subset.pool] if shots else []
    return hashlib.sha256(f"{content_sha256(scored)} {content_sha256(pool)}".encode()).hexdigest()


def build_task(name: str, task: Task, subset: FrozenSubset, max_new_tokens: int) -> FrozenTask:
    """The lm-eval task of one subset, with the suite's shots and answers of at most `max_new_tokens`."""
    config = load_yaml(TASKS / f"{name}.yaml")
    # lm-eval needs a unique name per subset; `sample_id` takes it apart again.
    config["task"] = f"{name}:{subset.name}"
    config["num_fewshot"] = task.shots
    if "generation_kwargs" in config:
        config["generation_kwargs"]["max_gen_toks"] = min(config["generation_kwargs"]["max_gen_toks"], max_new_tokens)
    return FrozenTask(config, subset)


def sample_id(task_name: str, doc_id: int) -> str:
    """The item's name in `texts.parquet`, from the name of a task of `build_task` and a document id."""
    return item_id(task_name.partition(":")[2], doc_id)


def answer_tokens(name: str) -> int | None:
    """Tokens that a task allows for a generated answer; None for ranked answers."""
    kwargs = _load_plain(name).get("generation_kwargs")
    return int(kwargs["max_gen_toks"]) if kwargs else None


def version(name: str) -> float:
    """The version that a task file states."""
    return float(_load_plain(name)["metadata"]["version"])


def _load_plain(name: str) -> dict[str, Any]:
    """A task file without importing the functions that it names."""
    # Only `build_task` needs the functions; a description of a task should run no code of it.
    config: dict[str, Any] = load_yaml(TASKS / f"{name}.yaml", resolve_func=False)
    return config


def template_sha256(name: str) -> str:
    """Hash of everything that makes the prompt and the score: the task's YAML and the modules beside it that it
    names."""
    config = (TASKS / f"{name}.yaml").read_bytes()
    # Their own imports are not followed: of this project they import nothing, and lm-eval's version is in the row.
    modules = sorted(set(re.findall(rb"!function (\w+)\.", config)))
    contents = [config, *((TASKS / f"{module.decode()}.py").read_bytes() for module in modules)]
    return hashlib.sha256(b"\0".join(contents)).hexdigest()


def load_hook(name: str, function: str) -> Callable[..., Any]:
    """A function of `evals/tasks/NAME.py`."""
    # By path: `evals` is data, not a package, and its files are found in the working directory.
    spec = importlib.util.spec_from_file_location(f"evals.tasks.{name}", TASKS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    hook: Callable[..., Any] = getattr(module, function)
    return hook


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, for hashing and comparing."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
