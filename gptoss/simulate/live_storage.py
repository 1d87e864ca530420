"""Counts bytes of live tensor storage, operation by operation, in a real or a fake run.

Every storage counts once, however many tensors share it, from the operation that creates it until it is collected, with
its current size (FSDP resizes storages in place). Not counted is what an allocator adds: rounding, fragmentation,
kernel workspaces, communication buffers, the device context.
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

# Breaking a peak down is slow and almost every operation of the warm-up sets a new one: do so only per 1 % of growth.
PEAK_GROWTH = 1.01


class LiveStorage(TorchDispatchMode):  # type: ignore[misc]
    """While active, counts storages that operations create or resize. `live` is the current total in bytes, `peak` its
    maximum; `on_peak` is called at new peaks, each at least 1 % above the last one it was called for."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.on_peak: Callable[[], None] = lambda: None
        self._bytes: dict[int, int] = {}
        self._reported = 0.0
        self._shape_inference_depth = 0
        self._originals: tuple[Any, Any] = (None, None)

    def __enter__(self) -> LiveStorage:
        # Neither resizing nor DTensor's shape inference passes through __torch_dispatch__ as an operation of its own.
        self._originals = torch.UntypedStorage.resize_, ShardingPropagator._fake_mode_lock
        resize, count = self._originals[0], self._count

        def counted_resize(storage: torch.UntypedStorage, size: int) -> Any:
            result = resize(storage, size)
            count(storage)
            return result

        torch.UntypedStorage.resize_ = counted_resize
        ShardingPropagator._fake_mode_lock = _ShapeInference(self)
        return super().__enter__()  # type: ignore[no-any-return]

    def __exit__(self, *reason: Any) -> None:
        torch.UntypedStorage.resize_, ShardingPropagator._fake_mode_lock = self._originals
        super().__exit__(*reason)

    def include(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that already exist."""
        for tensor in tensors:
            self._count(_storage(tensor))

    def bytes_of(self, tensors: Iterable[Tensor | None]) -> int:
        """Bytes of the storages of some tensors, each storage once."""
        # Keyed by identity, because views share a storage.
        storages = {id(storage): storage for t in tensors if t is not None for storage in [_storage(t)]}
        return sum(storage.nbytes() for storage in storages.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # DTensor's own dispatch runs the operations on shards, which come here
        result = func(*args, **(kwargs or {}))
        if self._shape_inference_depth == 0:
            for value in tree_iter(result):
                # Meta tensors, such as the shapes given to pipeline stages, have no memory.
                if isinstance(value, Tensor) and value.device.type != "meta":
                    self._count(_storage(value))
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        if key not in self._bytes:
            self._bytes[key] = 0
            # A finalizer, because ids are reused after collection and a reference would keep the storage alive.
            weakref.finalize(storage, self._forget, key)
        self.live += size - self._bytes[key]
        self._bytes[key] = size
        if self.live > self.peak:
            self.peak = self.live
            if self.peak > PEAK_GROWTH * self._reported:
                self._reported = self.peak
                self.on_peak()

    def _forget(self, key: int) -> None:
        self.live -= self._bytes.pop(key)


class _ShapeInference:
    """Replaces the lock that `DTensor` holds while it infers the shape of a result from fake tensors of the global
    size, which no rank ever allocates."""

    def __init__(self, storage: LiveStorage) -> None:
        self.storage = storage

    def __enter__(self) -> None:
        self.storage._shape_inference_depth += 1

    def __exit__(self, *_: Any) -> None:
        self.storage._shape_inference_depth -= 1


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    # Not to_local(), which would be counted as an operation.
    local = tensor._local_tensor if isinstance(tensor, DTensor) else tensor
    return local.untyped_storage()
