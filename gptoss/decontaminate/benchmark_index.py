"""The index of all items' n-grams as files: made once, and mapped into memory by every process that looks things up, so
that the processes of a machine share it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gptoss.core.atomic_files import atomic_folder, read_json, sha256_file, write_json
from gptoss.core.errors import DataError
from gptoss.decontaminate.benchmark_ngrams import Benchmark, Grams, load_benchmark
from gptoss.executor.tasks import Result, run_tasks
from gptoss.text.normalize import Words

Arrays = TypeVar("Arrays", Words, Grams)


@dataclass(frozen=True)
class Items:
    """The evaluated items, and how a task gets at their n-grams."""

    arguments: dict[str, Any]
    """What `benchmark` is called with."""
    names: list[tuple[str, str, str]]
    """Suite, task and id of each item."""
    unchecked: int
    """Items shorter than the smallest size."""


def index_items(texts: Path, sizes: Sequence[int], state: Path) -> Items:
    """Index the benchmark texts. Raises `DataError` when they are not there."""
    if not texts.exists():
        raise DataError(f"{texts} does not exist", "run `dvc repro benchmarks`, which makes it")
    arguments = {"index": str(state / "index"), "sha256": sha256_file(texts)}
    run_tasks("decontaminate_index", write_index, [arguments | {"texts": str(texts), "sizes": list(sizes)}], state)
    known = benchmark(**arguments)
    return Items(arguments, known.items, known.unchecked)


def write_index(index: str, sha256: str, texts: str, sizes: list[int]) -> Result:
    """A task: write the index of the benchmark texts with the checksum `sha256`."""
    known = load_benchmark(Path(texts), sizes)
    with atomic_folder(Path(index)) as folder:
        write_json(folder / "items.json", {"items": known.items, "unchecked": known.unchecked})
        _save(folder / "words", known.words)
        for number, grams in enumerate(known.grams):
            _save(folder / f"grams-{number}", grams)
    return {"items": len(known.items)}


@functools.lru_cache(maxsize=1)
def benchmark(index: str, sha256: str) -> Benchmark:
    """The index of the benchmark texts with the checksum `sha256`, opened once in the life of a process."""
    folder = Path(index)
    known = read_json(folder / "items.json")
    grams = [_mapped(path, Grams) for path in sorted(folder.glob("grams-*"))]
    items = [(suite, task, item) for suite, task, item in known["items"]]
    return Benchmark(items, _mapped(folder / "words", Words), grams, known["unchecked"])


def _save(folder: Path, arrays: Words | Grams) -> None:
    folder.mkdir()
    for field in fields(arrays):
        np.save(folder / f"{field.name}.npy", getattr(arrays, field.name))


def _mapped(folder: Path, kind: type[Arrays]) -> Arrays:
    """What `_save` wrote; numbers come back as numbers, arrays as views of the file."""
    found = {field.name: np.load(folder / f"{field.name}.npy", mmap_mode="r") for field in fields(kind)}
    values: dict[str, Any] = {name: np.asarray(array) if array.ndim else array.item() for name, array in found.items()}
    return kind(**values)
