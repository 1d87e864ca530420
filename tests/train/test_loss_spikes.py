"""Loss spikes: equal detection after a resume, skipped batches, an error after too many."""

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


def test_a_spike_is_above_the_losses_before_it_and_found_alike_after_a_resume(
    spikes: Callable[..., SpikeDetector],
) -> None:
    detector = spikes()
    assert [detector.is_spike(loss) for loss in (9.0, *CALM)] == [False] * 5  # no window yet, then 9.0 widens it
    assert not detector.is_spike(3.3)  # within four deviations (0.082 each) of the mean
    resumed = spikes()
    resumed.load_state_dict(json.loads(json.dumps(detector.state_dict())))
    for one in (detector, resumed):
        assert one.is_spike(5.0) and one.is_spike(5.0)  # a spike is not remembered as a loss to compare with
        assert not one.is_spike(3.2)
    assert not any(spikes("none").is_spike(loss) for loss in (*CALM, 50.0))


def test_batches_that_led_to_a_spike_are_left_out(spikes: Callable[..., SpikeDetector]) -> None:
    detector = spikes(max=9)
    at_checkpoint = detector.state_dict()
    event = detector.record_rollback(step=10, loss=9.0, restored=5, state=at_checkpoint)
    assert event == {"event": "rollback", "step": 5, "from_step": 10, "loss": 9.0, "samples": [56, 80]}
    assert [detector.batch_number(step) for step in (5, 6, 7, 8, 9)] == [5, 6, 7, 11, 12]
    detector.record_rollback(
        step=9, loss=9.0, restored=5, state=at_checkpoint
    )  # batches 7, 11 and 12, with 8 to 10 between
    assert [detector.batch_number(step) for step in (6, 7, 8)] == [6, 13, 14]
    again = spikes(max=9)
    again.load_state_dict(json.loads(json.dumps(detector.state_dict())))
    assert again.rollbacks == 2 and [again.batch_number(step) for step in (6, 7)] == [6, 13]


def test_too_many_spikes_stop_the_run(spikes: Callable[..., SpikeDetector]) -> None:
    detector = spikes("skip")
    detector.record_skip(3, 9.0)
    detector.record_skip(4, 9.0)
    assert detector.skipped == 2
    with pytest.raises(DataError, match=r"step 5: loss 9.000 is spike number 3, pretrain.spikes.max is 2"):
        detector.record_skip(5, 9.0)
