"""Checkpoints that are atomic, checksummed, written asynchronously, and readable on any mesh.

Tensors go through torch.distributed.checkpoint (DCP) under global parameter names (`model.NAME`, `exp_avg.NAME`, …),
so a checkpoint of one mesh loads into any other; numbers go into `manifest.json`.

    save()     copy the tensors, then write `step-N.partial/` in a background thread; each rank hashes its own files
    commit()   once every rank has written: rank 0 merges the checksums into the manifest, renames to `step-N/`

A folder without a manifest, or with a file that does not match it, is not a checkpoint: it is renamed to
`step-N.damaged` and the one before it is used. A file that cannot be *read* is a `ClusterError` instead, because that
says nothing about its content.
"""

from __future__ import annotations

import itertools
import platform
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

from gptoss.config.cluster import CheckpointsConfig
from gptoss.core.atomic_files import read_json, sha256_file, write_json
from gptoss.core.errors import ClusterError, from_os_error
from gptoss.train.parallel_context import ParallelContext

MANIFEST = "manifest.json"
# NFS clients cache directory entries for up to 60 s (default of acdirmax), and do not see a new file for that long.
VISIBILITY_SECONDS = 60.0
StateDict = dict[str, Tensor]


class Checkpoints:
    """The checkpoints of one run, `folder/step-00000100/`: the newest `keep`, and those kept permanently."""

    def __init__(self, folder: Path, config: CheckpointsConfig, parallel: ParallelContext) -> None:
        self.folder, self.config, self.parallel = folder, config, parallel
        self._saved_at = time.monotonic()
        self._stall_seconds = self._save_seconds = 0.0
        pinned = parallel.device.type == "cuda"
        # One stager for all saves reuses its host buffers: allocating them anew takes longer than the copy itself.
        # Staging itself is synchronous (third option): the copy must be complete before the next step changes the
        # tensors. `async_save` once wrote mutated CPU tensors (pytorch/pytorch#144657).
        self._stager = DefaultStager(StagingOptions(pinned, False, False, pinned))
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[None] | None = None
        self._finalizing: Future[None] | None = None
        self._step = 0
        self._manifest: dict[str, Any] = {}
        if parallel.rank == 0:
            folder.mkdir(parents=True, exist_ok=True)
            for abandoned in folder.glob("*.partial"):
                shutil.rmtree(abandoned)

    @property
    def uncommitted(self) -> bool:
        """True while an asynchronous save is uncommitted. Equal on every rank."""
        return self._writing is not None

    @property
    def written(self) -> bool:
        """True when this rank's files of the pending save are on disk. Raises the error of the background thread."""
        if self._writing is None or not self._writing.done():
            return False
        self._writing.result()
        return True

    @property
    def overdue(self) -> bool:
        """True when the last save began `every_seconds` ago. Only rank 0's clock counts: clocks differ between nodes,
        and one rank's flag is enough for all ranks to save."""
        interval = self.config.every_seconds
        return self.parallel.rank == 0 and interval is not None and time.monotonic() - self._saved_at >= interval

    def save(self, step: int, tensors: StateDict, manifest: dict[str, Any]) -> None:
        """Start saving the state after `step`. Returns when the tensors are copied to host memory. Collective."""
        if self.uncommitted:
            self.commit()
        started = time.monotonic()
        self._wait_until_final()
        self._step, self._manifest, self._saved_at = step, manifest, time.monotonic()
        partial = self._partial
        partial.mkdir(parents=True, exist_ok=True)  # by whichever rank comes first, to avoid a barrier here
        with _quiet_dcp():
            saving = dcp.async_save(
                tensors, checkpoint_id=partial, process_group=self.parallel.gloo_group, async_stager=self._stager
            )
        self._writing = self._worker.submit(self._hash_own_files, saving, partial)
        self._stall_seconds += time.monotonic() - started

    def _hash_own_files(self, saving: Any, partial: Path) -> None:
        saving.result()
        rank = self.parallel.rank
        # DCP names the files of a rank `__RANK_N.distcp`; rank 0 also writes the metadata. They are hashed at once,
        # while they are in the page cache, and by all ranks in parallel.
        own = [*partial.glob(f"__{rank}_*"), *(partial.glob(".metadata") if rank == 0 else ())]
        write_json(partial / f"sha256-{rank}.json", {path.name: sha256_file(path) for path in own})

    def commit(self, *, written: bool = False) -> None:
        """Turn the pending save into a checkpoint. Collective.

        Waits for the files of all ranks, unless the caller knows from the exchanged flags that they are `written`.
        Rank 0 writes the manifest in the background.
        """
        if self._writing is None:
            return
        started = time.monotonic()
        self._writing.result()
        self._writing = None
        # Otherwise rank 0 could collect checksums that another rank has not written yet.
        if not written:
            self.parallel.barrier()
        if self.parallel.rank == 0:
            self._finalizing = self._worker.submit(self._finalize)
        self._stall_seconds += time.monotonic() - started
        self._save_seconds = time.monotonic() - self._saved_at

    def take_seconds(self) -> dict[str, float]:
        """Seconds since the last call: `checkpoint_stall_seconds` that training waited, and, after a commit,
        `checkpoint_seconds` from the start of the save to its commit."""
        seconds = {"checkpoint_stall_seconds": self._stall_seconds}
        if self._save_seconds:
            seconds["checkpoint_seconds"] = self._save_seconds
        self._stall_seconds = self._save_seconds = 0.0
        return seconds

    def _wait_until_final(self) -> None:
        """Wait for `_finalize`, and raise its error."""
        if self._finalizing is not None:
            self._finalizing.result()
            self._finalizing = None

    def _finalize(self) -> None:
        checksum_files = [self._partial / f"sha256-{rank}.json" for rank in range(self.parallel.world_size)]
        files: dict[str, str] = {}
        for path in checksum_files:
            files |= read_json(wait_until_visible(path))
        for path in checksum_files:
            path.unlink()
        # The manifest is written last: its presence means that every other file is complete.
        write_json(self._partial / MANIFEST, {"step": self._step, "files": files, **self._manifest})
        final = self.folder / f"step-{self._step:08d}"
        shutil.rmtree(final, ignore_errors=True)
        # The rename is the commit point: it is atomic, so a kill at any moment leaves the old state or the new one.
        self._partial.replace(final)
        # Only after the rename, so that `keep` checkpoints exist at any time.
        for old in committed_checkpoints(self.folder)[: -self.config.keep]:
            if not self.config.is_permanent(step_of(old)):
                shutil.rmtree(old)

    @property
    def _partial(self) -> Path:
        return self.folder / f"step-{self._step:08d}.partial"

    def restore(self, tensors: StateDict, newest: int | None = None) -> dict[str, Any] | None:
        """Load the newest intact checkpoint (of step `newest` or earlier) into `tensors`, in place. Collective.

        Returns its manifest, or None when there is none. A damaged checkpoint is reported, renamed, and skipped.
        """
        self._wait_until_final()
        paths = [p for p in reversed(committed_checkpoints(self.folder)) if newest is None or step_of(p) <= newest]
        # Rank 0's listing is authoritative: another node may still see an older directory.
        for name in self.parallel.broadcast_object([path.name for path in paths]):
            path = self.folder / name
            # DCP does not verify content: a flipped bit would become a weight.
            damage = self._find_damage(path)
            if damage is None:
                with _quiet_dcp():
                    dcp.load(tensors, checkpoint_id=path, process_group=self.parallel.gloo_group)
                manifest: dict[str, Any] = read_json(path / MANIFEST)
                return manifest
            self.parallel.barrier()  # no rank may still read it when it is renamed
            if self.parallel.rank == 0:
                kept = quarantine(path)
                then = "the previous one is used" if path != paths[-1] else "there is none before it"
                print(f"checkpoint {path} is damaged ({damage}): {then}; it is kept as {kept.name}", file=sys.stderr)
        return None

    def delete_after(self, step: int, manifest: dict[str, Any]) -> None:
        """Delete checkpoints later than `step` and update the manifest of that step's own. Collective."""
        if self.parallel.rank == 0:
            # Newest first: a kill in between leaves a valid, shorter history.
            for path in reversed(committed_checkpoints(self.folder)):
                if step_of(path) > step:
                    shutil.rmtree(path)
                elif step_of(path) == step:
                    write_json(path / MANIFEST, read_json(path / MANIFEST) | manifest)
        self.parallel.barrier()

    def _find_damage(self, path: Path) -> str | None:
        """`find_damage` with the hashing divided over the ranks; all of them return the same answer. Raises
        `ClusterError` on a rank whose node does not see the files that rank 0 sees."""
        if self.parallel.broadcast_object(_exists(path / MANIFEST)):
            wait_until_visible(path / MANIFEST)
        own = find_damage(path, self.parallel.rank, self.parallel.world_size)
        return next((text for text in self.parallel.all_gather_object(own) if text), None)

    def close(self) -> None:
        """Wait for the last commit and stop the background thread."""
        self._wait_until_final()
        self._worker.shutdown(wait=True)
        self._stager.close()


@contextmanager
def _quiet_dcp() -> Iterator[None]:
    """Suppress DCP's warnings about deprecated storage classes and single-process use, repeated on every call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def find_damage(path: Path, share: int = 0, shares: int = 1) -> str | None:
    """Verify every `shares`-th file of a checkpoint against its manifest, starting at file `share`. Returns what is
    wrong, or None. Raises `ClusterError` when a file cannot be read."""
    with _as_cluster_error(path):
        try:
            checksums = read_json(path / MANIFEST)["files"]
            wrong = [name for name in sorted(checksums)[share::shares] if sha256_file(path / name) != checksums[name]]
        # A missing file is damage, unlike other OSErrors; the rest is a manifest that is not what `_finalize` wrote.
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            return str(error)
        return f"{wrong[0]} does not match its checksum" if wrong else None


@contextmanager
def _as_cluster_error(path: Path) -> Iterator[None]:
    """Raise an `OSError` (a stale handle, a broken disk, too many open files) as `ClusterError`."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error) or ClusterError(
            f"{error.filename or path} cannot be read on {platform.node()}: {error.strerror}",
            "check that its file system is mounted and healthy on that machine; the same command continues",
        ) from error


def _exists(path: Path) -> bool:
    with _as_cluster_error(path):
        return path.exists()


def wait_until_visible(path: Path) -> Path:
    """Wait until this node sees a file that another rank has written. Raises `ClusterError` after a minute."""
    deadline = time.monotonic() + VISIBILITY_SECONDS
    while not _exists(path):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{path} was written by another rank, but {platform.node()} does not see it",
                "check that all nodes mount the same file system there; the same command continues",
            )
        time.sleep(VISIBILITY_SECONDS / 100)
    return path


def quarantine(path: Path) -> Path:
    """Rename a damaged checkpoint so that it is no longer loaded but can be examined; returns its new path."""
    # Kept, because a damaged file is evidence about a disk; numbered, because it can happen twice at one step.
    names = (f"{path.name}.damaged{number}" for number in itertools.chain([""], itertools.count(2)))
    return path.rename(next(free for name in names if not (free := path.with_name(name)).exists()))


def step_of(path: Path) -> int:
    """The step after which a checkpoint was saved."""
    return int(path.name.removeprefix("step-"))


def committed_checkpoints(folder: Path) -> list[Path]:
    """Committed checkpoints, oldest first; without `.partial` and `.damaged` ones."""
    return sorted(path for path in folder.glob("step-*") if not path.suffix)
