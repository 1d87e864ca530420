"""Loss spikes: found alike after a resume; batches left out once and for all; an end after too many."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from gptoss.config.settings import Settings
from gptoss.core.errors import DataError
from gptoss.train.loss_spikes import SpikeDetector

CALM = [3.0, 2.9, 3.1, 3.0]


@pytest.fixture
def spikes(tiny: Callable[..., Settings]) -> Callable[..., SpikeDetector]:
    def make(policy: str = "rollback", **changes: object) -> SpikeDetector:
        given = {"policy": policy, "threshold": 4.0, "window": 4, "rollback_steps": 3, "max": 2} | changes
        return SpikeDetector(tiny(**{"pretrain.spikes": given}))

    return make


def test_a_spike_is_above_the_losses_before_it_and_found_alike_after_a_resume(spikes: Callable[..., SpikeDetector]) -> None:
    made = spikes()
    assert [made.found(loss) for loss in (9.0, *CALM)] == [False] * 5  # no window yet, then 9.0 widens it
    assert not made.found(3.3)  # within four deviations (0.082 each) of the mean
    resumed = spikes()
    resumed.restore(json.loads(json.dumps(made.state())))
    for one in (made, resumed):
        assert one.found(5.0) and one.found(5.0)  # a spike is not remembered as a loss to compare with
        assert not one.found(3.2)
    assert not any(spikes("none").found(loss) for loss in (*CALM, 50.0))


def test_batches_that_led_to_a_spike_are_left_out(spikes: Callable[..., SpikeDetector]) -> None:
    made = spikes(max=9)
    at_checkpoint = made.state()
    event = made.roll_back(step=10, loss=9.0, restored=5, state=at_checkpoint)
    assert event == {"event": "rollback", "step": 5, "from_step": 10, "loss": 9.0, "samples": [56, 80]}
    assert [made.batch(step) for step in (5, 6, 7, 8, 9)] == [5, 6, 7, 11, 12]
    made.roll_back(step=9, loss=9.0, restored=5, state=at_checkpoint)  # batches 7, 11 and 12, with 8 to 10 between
    assert [made.batch(step) for step in (6, 7, 8)] == [6, 13, 14]
    again = spikes(max=9)
    again.restore(json.loads(json.dumps(made.state())))
    assert again.rollbacks == 2 and [again.batch(step) for step in (6, 7)] == [6, 13]


def test_too_many_spikes_stop_the_run(spikes: Callable[..., SpikeDetector]) -> None:
    made = spikes("skip")
    made.skip(3, 9.0)
    made.skip(4, 9.0)
    assert made.skipped == 2
    with pytest.raises(DataError, match=r"step 5: loss 9.000 is spike number 3, pretrain.spikes.max is 2"):
        made.skip(5, 9.0)
