"""Damaged and unreadable checkpoints, and the commit of a complete one."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gptoss.config.cluster import CheckpointsConfig
from gptoss.core.atomic_files import read_json, sha256_file, write_json
from gptoss.core.errors import ClusterError
from gptoss.train import checkpoint
from gptoss.train.checkpoint import MANIFEST, Checkpoints, committed_checkpoints, find_damage


def ranks(size: int = 1) -> Any:
    """Rank 0, as far as checkpoints need it without tensors."""
    same = {
        "broadcast_object": lambda value: value,
        "all_gather_object": lambda value: [value],
        "barrier": lambda: None,
    }
    return SimpleNamespace(rank=0, world_size=size, device=torch.device("cpu"), **same)


def make(folder: Path, step: int) -> Path:
    path = folder / f"step-{step:08d}"
    path.mkdir(parents=True)
    (path / "__0_0.distcp").write_bytes(b"weights")
    write_json(path / MANIFEST, {"step": step, "files": {"__0_0.distcp": sha256_file(path / "__0_0.distcp")}})
    return path


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit": lambda path: (path / "__0_0.distcp").write_bytes(b"weighty"),
    "a file": lambda path: (path / "__0_0.distcp").unlink(),
    "the manifest": lambda path: (path / MANIFEST).unlink(),
    "half of the manifest": lambda path: (path / MANIFEST).write_text('{"step": 1, "fi'),
    "the meaning of the manifest": lambda path: (path / MANIFEST).write_text("[]"),
}


@pytest.mark.parametrize("lost", DAMAGE)
def test_a_damaged_checkpoint_is_renamed(lost: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = Checkpoints(tmp_path, CheckpointsConfig(every_steps=1, keep=1), ranks())
    for kept in ("step-00000007.damaged", "step-00000007.damaged2"):
        DAMAGE[lost](make(tmp_path, 7))
        assert checkpoints.restore({}) is None
        assert (tmp_path / kept).is_dir() and committed_checkpoints(tmp_path) == []
        output = capsys.readouterr().err
        assert "step-00000007 is damaged (" in output and f"there is none before it; it is kept as {kept}\n" in output


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EMFILE])
def test_a_checkpoint_that_cannot_be_read_is_not_damaged(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path, 7)
    checkpoints = Checkpoints(tmp_path, CheckpointsConfig(every_steps=1, keep=1), ranks())

    def broken(file: Path) -> str:
        raise OSError(number, "it broke", str(file))

    monkeypatch.setattr(checkpoint, "sha256_file", broken)
    with pytest.raises(ClusterError, match=r"__0_0.distcp cannot be read on .*: it broke"):
        checkpoints.restore({})
    monkeypatch.undo()
    assert committed_checkpoints(tmp_path) == [path] and find_damage(path) is None


def test_a_node_that_does_not_see_the_checkpoint_of_rank_0_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "VISIBILITY_SECONDS", 0.1)
    elsewhere = ranks(2)
    elsewhere.rank, elsewhere.broadcast_object = 1, lambda value: ["step-00000007"] if isinstance(value, list) else True
    with pytest.raises(ClusterError, match=r"manifest.json was written by another rank, but .* does not see it"):
        Checkpoints(tmp_path, CheckpointsConfig(every_steps=1, keep=1), elsewhere).restore({})


def test_a_checkpoint_has_the_files_of_all_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checksums that become visible late are waited for; without them there is no checkpoint."""
    checkpoints = Checkpoints(tmp_path, CheckpointsConfig(every_steps=1, keep=1), ranks(2))
    partial = tmp_path / "step-00000000.partial"
    write_json(partial / "sha256-0.json", {"__0_0.distcp": "a"})
    monkeypatch.setattr(checkpoint, "VISIBILITY_SECONDS", 0.2)
    with pytest.raises(ClusterError, match=r"sha256-1.json was written by another rank"):
        checkpoints._finalize()
    assert committed_checkpoints(tmp_path) == []
    monkeypatch.setattr(checkpoint, "VISIBILITY_SECONDS", 20.0)
    late = threading.Timer(0.3, lambda: write_json(partial / "sha256-1.json", {"__1_0.distcp": "b"}))
    late.start()
    checkpoints._finalize()
    late.join()
    (sealed,) = committed_checkpoints(tmp_path)
    assert read_json(sealed / MANIFEST)["files"] == {"__0_0.distcp": "a", "__1_0.distcp": "b"}
    assert [path.name for path in sealed.iterdir()] == [MANIFEST]
