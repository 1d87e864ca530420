"""Bytes of tensor storage that are alive, operation by operation, in a real or in a fake run.

Every storage is counted once, however many tensors share it, from the operation that makes it until it is collected,
with the size it has (FSDP resizes storages in place). Not counted is what an allocator adds: rounding, fragmentation,
workspaces of kernels, buffers of communication libraries, the device context.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._sharding_prop import ShardingPropagator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

NOTEWORTHY = 1.01
"""A peak is looked at in detail when it exceeds the last such one by this factor."""


class LiveStorage(TorchDispatchMode):  # type: ignore[misc]
    """While active, counts storages that operations make or resize; `peak` is the most at any moment.

    `on_peak` is called at new peaks, each at least 1 % above the last one it was called for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.on_peak: Callable[[], None] = lambda: None
        self._bytes: dict[int, int] = {}
        self._noted = 0.0
        self._shapes_alone = 0
        self._replaced: tuple[Any, Any] = (None, None)

    def __enter__(self) -> LiveStorage:
        self._replaced = torch.UntypedStorage.resize_, ShardingPropagator._fake_mode_lock
        resize, count = self._replaced[0], self._count

        def counted(storage: torch.UntypedStorage, size: int) -> Any:
            result = resize(storage, size)
            count(storage)
            return result

        torch.UntypedStorage.resize_ = counted
        ShardingPropagator._fake_mode_lock = _ShapesAlone(self)
        return super().__enter__()  # type: ignore[no-any-return]

    def __exit__(self, *reason: Any) -> None:
        torch.UntypedStorage.resize_, ShardingPropagator._fake_mode_lock = self._replaced
        super().__exit__(*reason)

    def include(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that exist already."""
        for tensor in tensors:
            self._count(_plain(tensor).untyped_storage())

    def bytes_of(self, tensors: Iterable[Tensor | None]) -> int:
        """Bytes of the storages of some tensors, each storage once."""
        storages = {id(s): s.nbytes() for t in tensors if t is not None for s in [_plain(t).untyped_storage()]}
        return sum(storages.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # its own dispatch runs the operations on shards, which come here
        result = func(*args, **(kwargs or {}))
        if self._shapes_alone:
            return result
        for value in tree_iter(result):
            if isinstance(value, Tensor) and value.device.type != "meta":
                self._count(_plain(value).untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key not in self._bytes:
            self._bytes[key] = 0
            weakref.finalize(storage, self._forget, key)
        self.live += size - self._bytes[key]
        self._bytes[key] = size
        if self.live > self.peak:
            self.peak = self.live
            if self.peak > NOTEWORTHY * self._noted:
                self._noted = self.peak
                self.on_peak()

    def _forget(self, key: int) -> None:
        self.live -= self._bytes.pop(key)


class _ShapesAlone:
    """Entered by `DTensor` while it learns the shape of a result from fake tensors of the whole size, which no rank
    ever holds."""

    def __init__(self, storage: LiveStorage) -> None:
        self.storage = storage

    def __enter__(self) -> None:
        self.storage._shapes_alone += 1

    def __exit__(self, *_: Any) -> None:
        self.storage._shapes_alone -= 1


def _plain(tensor: Tensor) -> Tensor:
    return tensor._local_tensor if isinstance(tensor, DTensor) else tensor  # to_local() would be an operation
