"""The n-grams of the benchmark as files: built once and mapped by every worker process, so that the processes of a
machine share one copy in the page cache."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gptoss.core.atomic_files import atomic_folder, read_json, sha256_file, write_json
from gptoss.core.errors import DataError
from gptoss.decontaminate.benchmark_ngrams import BenchmarkNgrams, NgramIndex, load_benchmark
from gptoss.executor.tasks import Result, run_tasks
from gptoss.text.normalize import Words

Arrays = TypeVar("Arrays", Words, NgramIndex)


def index_benchmark(texts: Path, sizes: Sequence[int], state: Path) -> dict[str, str]:
    """Index the benchmark texts; returns the arguments of `open_benchmark`. Errors: `DataError` without texts."""
    if not texts.exists():
        raise DataError(f"{texts} does not exist", "run `dvc repro benchmarks`, which creates it")
    # The checksum makes changed texts new arguments, both for the executor and for the cache of `open_benchmark`.
    arguments = {"folder": str(state / "index"), "sha256": sha256_file(texts)}
    run_tasks("decontaminate_index", write_index, [arguments | {"texts": str(texts), "sizes": list(sizes)}], state)
    # Arguments and not the index itself: tasks run in other processes and open the files there.
    return arguments


def write_index(folder: str, sha256: str, texts: str, sizes: list[int]) -> Result:
    """Task: write the index of the benchmark texts, whose checksum is `sha256`."""
    benchmark = load_benchmark(Path(texts), sizes)
    with atomic_folder(Path(folder)) as partial:
        write_json(partial / "items.json", {"items": benchmark.items, "unchecked": benchmark.unchecked})
        _save(partial / "words", benchmark.words)
        for number, index in enumerate(benchmark.indexes):
            _save(partial / f"ngrams-{number}", index)
    return {"items": len(benchmark.items)}


# One per process: a worker runs many tasks, and the cache of n-grams that were looked up is worth keeping.
@functools.lru_cache(maxsize=1)
def open_benchmark(folder: str, sha256: str) -> BenchmarkNgrams:
    """The index of the benchmark texts with the checksum `sha256`, mapped into memory."""
    root = Path(folder)
    stored = read_json(root / "items.json")
    indexes = [_map(path, NgramIndex) for path in sorted(root.glob("ngrams-*"))]
    items = [(suite, task, item) for suite, task, item in stored["items"]]
    return BenchmarkNgrams(items, _map(root / "words", Words), indexes, stored["unchecked"])


def _save(folder: Path, arrays: Words | NgramIndex) -> None:
    # One .npy file per array, as NumPy cannot map the members of an .npz archive.
    folder.mkdir()
    for field in fields(arrays):
        np.save(folder / f"{field.name}.npy", getattr(arrays, field.name))


def _map(folder: Path, kind: type[Arrays]) -> Arrays:
    """What `_save` wrote: arrays as views of the files, numbers as numbers."""
    stored = {field.name: np.load(folder / f"{field.name}.npy", mmap_mode="r") for field in fields(kind)}
    # np.asarray strips the class np.memmap, whose slices are slow to create.
    values: dict[str, Any] = {name: np.asarray(array) if array.ndim else array.item() for name, array in stored.items()}
    return kind(**values)
