"""Storages are counted once, from creation to collection."""

from __future__ import annotations

import torch

from gptoss.simulate.live_storage import LiveStorage


def test_storages_are_counted_once_and_until_they_are_freed() -> None:
    with LiveStorage() as storage:
        first = torch.empty(1000)
        view = first.view(10, 100)
        assert storage.live == 4000
        second = view + 1
        del second
        assert (storage.live, storage.peak) == (4000, 8000)
        first.untyped_storage().resize_(0)
        assert storage.live == 0
        torch.empty(1000, device="meta")
        assert (storage.live, storage.peak) == (0, 8000)
    after = torch.empty(1000)
    assert storage.live == 0 and after.numel() == 1000
