"""Checkpoints that are whole or not there, written while training goes on, readable on any mesh.

Tensors go through torch.distributed.checkpoint under their global names (`model.NAME`, `exp_avg.NAME`, …), so a
checkpoint of one mesh loads into another; numbers go into `manifest.json`. A save copies the tensors, then writes in
the background on a process group of its own. Each rank hashes the files it wrote; when all are done (the ranks learn
it from the sum they exchange every step anyway) rank 0 writes the manifest last and renames the folder to its final
name. A folder without a manifest, or with a file that does not match it, is not a checkpoint: it is set aside as
`step-N.damaged`, and the one before is used. A file that cannot be read is no such reason: that ends the run.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import platform
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

from gptoss.config.cluster import CheckpointsConfig as Policy
from gptoss.core.atomic_files import read_json, sha256_file, write_json
from gptoss.core.errors import ClusterError, from_os_error
from gptoss.train.parallel_context import ParallelContext

MANIFEST = "manifest.json"
SEEN_SECONDS = 60.0
"""A network file system may hide for so long what another node has written."""
State = dict[str, Tensor]


class Checkpoints:
    """The checkpoints of one run: `folder/step-00000100/`, the newest of them and those the policy keeps for good."""

    def __init__(self, folder: Path, policy: Policy, ranks: ParallelContext) -> None:
        self.folder, self.policy, self.ranks = folder, policy, ranks
        self._saved = time.monotonic()
        self._stalled = self._took = 0.0
        pinned = ranks.device.type == "cuda"
        # One stager for all saves copies into the same buffers again; making them anew would take longer than copying.
        self._stager = DefaultStager(StagingOptions(pinned, False, False, pinned))
        self._worker = concurrent.futures.ThreadPoolExecutor(max_workers=1)
        self._writing: concurrent.futures.Future[None] | None = None
        self._sealing: concurrent.futures.Future[None] | None = None
        self._step = 0
        self._values: dict[str, Any] = {}
        if ranks.rank == 0:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob("*.partial"):
                shutil.rmtree(left)

    @property
    def unpublished(self) -> bool:
        """Whether a save was begun that is not yet a checkpoint. The same on every rank."""
        return self._writing is not None

    @property
    def written(self) -> bool:
        """Whether this rank's part of the save is on the disk. Raises what went wrong in the background."""
        if self._writing is None or not self._writing.done():
            return False
        self._writing.result()
        return True

    @property
    def overdue(self) -> bool:
        """Whether the last save is `every_seconds` ago by the clock of rank 0; on other ranks never."""
        every = self.policy.every_seconds
        return self.ranks.rank == 0 and every is not None and time.monotonic() - self._saved >= every

    def save(self, step: int, tensors: State, values: dict[str, Any]) -> None:
        """Begin a save of the state after `step`: returns when the tensors are copied. Collective."""
        if self.unpublished:
            self.publish()
        began = time.monotonic()
        self._wait_until_sealed()
        self._step, self._values, self._saved = step, values, time.monotonic()
        partial = self._partial
        partial.mkdir(parents=True, exist_ok=True)  # by whichever rank comes first: none waits for another here
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            saving = dcp.async_save(
                tensors, checkpoint_id=partial, process_group=self.ranks.checkpoint_group, async_stager=self._stager
            )
        self._writing = self._worker.submit(self._finish, saving, partial)
        self._stalled += time.monotonic() - began

    def _finish(self, saving: Any, partial: Path) -> None:
        saving.result()
        rank = self.ranks.rank
        own = [*partial.glob(f"__{rank}_*"), *(partial.glob(".metadata") if rank == 0 else ())]
        write_json(partial / f"sha256-{rank}.json", {path.name: sha256_file(path) for path in own})

    def publish(self, *, written: bool = False) -> None:
        """Make the save that was begun a checkpoint. Waits where it is still being written, unless the ranks know from
        each other that it is `written`. Rank 0 seals it in the background. Collective."""
        if self._writing is None:
            return
        began = time.monotonic()
        self._writing.result()
        self._writing = None
        if not written:
            self.ranks.barrier()
        if self.ranks.rank == 0:
            self._sealing = self._worker.submit(self._seal)
        self._stalled += time.monotonic() - began
        self._took = time.monotonic() - self._saved

    def seconds_spent(self) -> dict[str, float]:
        """Since the last call: seconds that training stood still for checkpoints, and, when one was published, from
        its beginning to then."""
        spent = {"checkpoint_stall_seconds": self._stalled} | ({"checkpoint_seconds": self._took} if self._took else {})
        self._stalled = self._took = 0.0
        return spent

    def _wait_until_sealed(self) -> None:
        """What was published is a checkpoint, and old ones are removed. Raises what went wrong."""
        if self._sealing is not None:
            self._sealing.result()
            self._sealing = None

    def _seal(self) -> None:
        files: dict[str, str] = {}
        parts = [self._partial / f"sha256-{rank}.json" for rank in range(self.ranks.size)]
        for part in parts:
            files |= read_json(seen(part))
        for part in parts:
            part.unlink()
        write_json(self._partial / MANIFEST, {"step": self._step, "files": files, **self._values})
        final = self.folder / f"step-{self._step:08d}"
        shutil.rmtree(final, ignore_errors=True)
        self._partial.replace(final)
        for old in published(self.folder)[: -self.policy.keep]:
            if not self.policy.keeps_for_good(step_of(old)):
                shutil.rmtree(old)

    @property
    def _partial(self) -> Path:
        return self.folder / f"step-{self._step:08d}.partial"

    def restore(self, tensors: State, newest: int | None = None) -> dict[str, Any] | None:
        """Read the newest sound checkpoint (of step `newest` or before) into `tensors`; returns its manifest, or None
        when there is none. A damaged one is reported and set aside, and the one before it is tried. Collective."""
        self._wait_until_sealed()
        found = [path for path in reversed(published(self.folder)) if newest is None or step_of(path) <= newest]
        for name in self.ranks.broadcast([path.name for path in found]):
            path = self.folder / name
            wrong = self._first_fault(path)
            if wrong is None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    dcp.load(tensors, checkpoint_id=path, process_group=self.ranks.checkpoint_group)
                manifest: dict[str, Any] = read_json(path / MANIFEST)
                return manifest
            self.ranks.barrier()
            if self.ranks.rank == 0:
                kept = set_aside(path)
                then = "the previous one is used" if path != found[-1] else "there is none before it"
                print(f"checkpoint {path} is damaged ({wrong}): {then}; it is kept as {kept.name}", file=sys.stderr)
        return None

    def forget_after(self, step: int, values: dict[str, Any]) -> None:
        """Remove the checkpoints after that of `step`, whose manifest gets new `values`. Collective."""
        if self.ranks.rank == 0:
            for path in reversed(published(self.folder)):
                if step_of(path) > step:
                    shutil.rmtree(path)
                elif step_of(path) == step:
                    write_json(path / MANIFEST, read_json(path / MANIFEST) | values)
        self.ranks.barrier()

    def _first_fault(self, path: Path) -> str | None:
        """What is wrong with a checkpoint; the ranks share the work of hashing and agree on the answer. Raises
        `ClusterError` on a rank that does not see what rank 0 sees."""
        if self.ranks.broadcast(is_there(path / MANIFEST)):
            seen(path / MANIFEST)
        own = fault(path, self.ranks.rank, self.ranks.size)
        return next((text for text in self.ranks.gather(own) if text), None)

    def close(self) -> None:
        """Wait for what was published, and stop the background thread."""
        self._wait_until_sealed()
        self._worker.shutdown(wait=True)
        self._stager.close()


def fault(path: Path, part: int = 0, parts: int = 1) -> str | None:
    """What is wrong with the `part`-th of `parts` shares of a checkpoint's files. Raises `ClusterError` when they
    cannot be read, which says nothing about what is in them."""
    with reading(path):
        try:
            manifest = read_json(path / MANIFEST)
            names = sorted(manifest["files"])[part::parts]
            wrong = [name for name in names if sha256_file(path / name) != manifest["files"][name]]
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            return str(error)
        return f"{wrong[0]} does not match its checksum" if wrong else None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise what the operating system says (a stale handle, a broken disk, too many open files) as `ClusterError`."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error) or ClusterError(
            f"{error.filename or path} cannot be read on {platform.node()}: {error.strerror}",
            "see whether its file system is mounted and sound on that machine; the same command continues",
        ) from error


def is_there(path: Path) -> bool:
    """Whether this node sees a file."""
    with reading(path):
        return path.exists()


def seen(path: Path) -> Path:
    """A file that another rank has written, once this node sees it, which a network file system may put off. Raises
    `ClusterError` when that takes too long."""
    deadline = time.monotonic() + SEEN_SECONDS
    while not is_there(path):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{path} was written by another rank, but {platform.node()} does not see it",
                "see whether all nodes mount the same file system there; the same command continues",
            )
        time.sleep(SEEN_SECONDS / 100)
    return path


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint, so that it is none any more and can be looked at; returns its new path."""
    names = (f"{path.name}.damaged{number}" for number in itertools.chain([""], itertools.count(2)))
    return path.rename(next(free for name in names if not (free := path.with_name(name)).exists()))


def step_of(path: Path) -> int:
    """The step after which a checkpoint was saved."""
    return int(path.name.removeprefix("step-"))


def published(folder: Path) -> list[Path]:
    """The finished checkpoints of a folder, oldest first; neither `.partial` nor `.damaged` ones."""
    return sorted(path for path in folder.glob("step-*") if not path.suffix)
