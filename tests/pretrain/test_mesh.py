"""How a rank joins the others and leaves them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stages.errors import DataError, Preempted
from stages.pretrain import mesh
from tests.pretrain.conftest import cluster


class Joining:
    """torch.distributed on a rank of `size`, as far as `joined` uses it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.left = False

    def init_process_group(self, *_: Any, **__: Any) -> None:
        self.left = False

    def get_world_size(self) -> int:
        return self.size

    def get_rank(self) -> int:
        return 0

    def new_group(self, **_: Any) -> None: ...

    def destroy_process_group(self) -> None:
        self.left = True


@pytest.mark.parametrize(
    ("size", "error", "leaves"),
    [
        (2, None, True),
        (2, Preempted("stopped", "go on"), True),
        (2, DataError("a file is gone", ""), False),
        (2, KeyboardInterrupt(), False),
        (1, DataError("a file is gone", ""), True),
    ],
)
def test_a_rank_that_fails_alone_does_not_wait_for_the_others(
    size: int, error: BaseException | None, leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Joining(size)
    monkeypatch.setattr(mesh, "dist", group)
    monkeypatch.setattr(mesh, "device_mesh", lambda *_: None)
    try:
        with mesh.joined(cluster(shard=size)):
            if error:
                raise error
    except (DataError, Preempted, KeyboardInterrupt) as raised:
        assert raised is error
    assert group.left == leaves


def test_gpus_add_up_halves_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul = torch.backends.cuda.matmul
    monkeypatch.setattr(mesh, "dist", Joining(1))
    monkeypatch.setattr(mesh, "device_mesh", lambda *_: None)
    monkeypatch.setattr(mesh, "_device", lambda _: torch.device("cuda", 0))
    try:
        with mesh.joined(cluster()):
            assert not matmul.allow_fp16_reduced_precision_reduction
            assert not matmul.allow_bf16_reduced_precision_reduction
    finally:
        matmul.allow_fp16_reduced_precision_reduction = matmul.allow_bf16_reduced_precision_reduction = True
