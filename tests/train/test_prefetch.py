"""Prefetching: the same batches, errors raised by the step they belong to, no thread left."""

from __future__ import annotations

import threading

import pytest

from gptoss.train.prefetch import Prefetcher


def test_the_next_batches_are_read_while_a_step_computes() -> None:
    reading, others = [threading.Event() for _ in range(6)], set(threading.enumerate())

    def read(step: int) -> int:
        reading[step].set()
        return step * step

    batches = Prefetcher(read, last=4)
    assert batches.take(1) == 1
    assert reading[3].wait(5) and not reading[4].is_set(), "two ahead, no further"
    assert [batches.take(step) for step in (2, 3, 4)] == [4, 9, 16]
    assert not reading[5].is_set(), "nothing is read beyond the last step"
    assert batches.take(2) == 4, "any step may be taken"
    batches.close()
    assert not any(thread.name.startswith("prefetch") for thread in set(threading.enumerate()) - others)


def test_an_error_is_raised_by_the_step_that_needs_the_batch() -> None:
    def read(step: int) -> int:
        if step == 3:
            raise OSError("disk gone")
        return step

    batches = Prefetcher(read, last=9)
    assert [batches.take(1), batches.take(2)] == [1, 2]
    with pytest.raises(OSError, match="disk gone"):
        batches.take(3)
    batches.close()


def test_closing_does_not_wait_for_what_nobody_needs() -> None:
    release, read = threading.Event(), []

    def slow(step: int) -> int:
        read.append(step)
        if step > 1:
            release.wait(5)
        return step

    batches = Prefetcher(slow, last=9, depth=5)
    batches.take(1)
    threading.Timer(0.05, release.set).start()
    batches.close()
    assert read[-1] <= 2
