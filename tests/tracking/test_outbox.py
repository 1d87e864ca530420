"""An outbox is sent in order and nothing is sent twice, whichever process sends it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gptoss.tracking import outbox
from gptoss.tracking.outbox import Entry, Leftovers, Outbox


def open_soon(file: Path, send: outbox.Send) -> Outbox:
    deadline = time.monotonic() + 10
    while True:
        try:
            return Outbox(file, send)
        except BlockingIOError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_long_outbox_is_released_to_its_own_stage_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "HOLD_SECONDS", 0.3)
    monkeypatch.setattr(outbox, "BATCH", 10)
    sent: dict[str, list[int]] = {"another": [], "own": []}

    def slowly(by: str) -> outbox.Send:
        def send(entries: list[Entry], run_id: str | None) -> str:
            time.sleep(0.1)
            sent[by] += [entry["step"] for entry in entries]
            return "run"

        return send

    (tmp_path / "long.jsonl").write_text("".join(f'{{"step": {step}}}\n' for step in range(200)))
    own = Outbox(tmp_path / "own.jsonl", lambda entries, run_id: "own")
    own.put({"step": 0})
    leftovers = Leftovers(own, slowly("another"))
    while not sent["another"]:
        time.sleep(0.02)
    again = open_soon(tmp_path / "long.jsonl", slowly("own"))
    again.put({"step": 200})
    assert again.close(remove=True)
    leftovers.finish()
    assert 0 < len(sent["another"]) < 200
    assert sent["another"] + sent["own"] == list(range(201))
    with pytest.raises(ValueError, match="closed"):
        again.put({"step": 201})


def test_a_closed_outbox_stays_locked_until_the_current_batch_has_ended(tmp_path: Path) -> None:
    sent: list[int] = []

    def slowly(entries: list[Entry], run_id: str | None) -> str:
        time.sleep(1.5)
        sent.extend(entry["step"] for entry in entries)
        return "run"

    first = Outbox(tmp_path / "one.jsonl", slowly)
    first.put({"step": 0})
    time.sleep(0.1)
    assert not first.close(remove=True, longest=0.1)
    with pytest.raises(BlockingIOError):
        Outbox(tmp_path / "one.jsonl", slowly)
    second = open_soon(tmp_path / "one.jsonl", slowly)
    assert second.close(remove=True) and sent == [0]
