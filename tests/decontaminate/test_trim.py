"""The time that trimming takes."""

from __future__ import annotations

import time

from gptoss.decontaminate import trim


def test_trim_takes_linear_time_when_every_word_matches() -> None:
    text = " ".join(f"wörd{number}" for number in range(100_000))
    ends = f"{'Before it. ' * 30}{text}. {'After it. ' * 30}"
    started = time.process_time()
    pieces = trim.trim(ends, [(60 + first, 68 + first) for first in range(100_000 - 8)])
    assert [piece.partition(" ")[0] for piece in pieces] == ["Before", "After"]
    assert time.process_time() - started < 3
