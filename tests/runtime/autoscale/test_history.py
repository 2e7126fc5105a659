from __future__ import annotations

import dataclasses

import pytest

from runtime.autoscale.declared import Declared
from runtime.autoscale.history import MOST_READINGS, History, observe, observe_reading
from runtime.autoscale.reading import Reading
from runtime.autoscale.sample import Load, Replica, Sample

DECLARED = Declared(max_replicas=10)


def look(at_s: float, total: float = 0.0) -> Sample:
    return Sample(at_s, (Replica("a", 0.0, 4.0, Load(1.0, 0.1, total, total)),))


def test_a_sample_that_is_not_newer_is_dropped() -> None:
    history = observe(DECLARED, History(), look(10.0), 10.0)
    for at_s in (10.0, 9.5, 3.0):
        assert observe(DECLARED, history, look(at_s), 10.0) is history


def test_a_sample_from_the_future_is_dropped() -> None:
    history = observe(DECLARED, History(), look(10.0), 10.0)
    assert observe(DECLARED, history, look(1e9), 11.0) is history
    assert observe(DECLARED, history, look(11.0), 11.0) is not history


def test_the_old_history_is_as_it_was() -> None:
    history = observe(DECLARED, History(), look(10.0), 10.0)
    before = dataclasses.replace(history)
    observe(DECLARED, history, look(11.0), 11.0)
    assert history == before


def test_a_clock_that_went_back_forgets_what_was_seen_and_keeps_what_was_learned() -> None:
    history = observe(DECLARED, History(), look(1000.0), 1000.0)
    assert history.learned.start_s == 4.0
    again = observe(DECLARED, history, look(5.0), 5.0)
    assert [reading.at_s for reading in again.readings] == [5.0]
    assert again.learned.start_s == 4.0


def test_it_is_bounded_however_often_and_long_it_looks() -> None:
    declared = Declared(max_replicas=10, down_s=7 * 86400.0, up_s=86400.0)
    history = History()
    for index in range(3000):
        at_s = index * 0.01 if index < 1500 else 15.0 + (index - 1500) * 10.0
        reading = Reading(at_s, 2, arrived_rps=5.0, answered_rps=5.0, in_flight=1.0)
        history = observe_reading(declared, history, reading, at_s)
        assert len(history.readings) <= MOST_READINGS
        assert len(history.highs) + len(history.lows) <= 250


def test_the_rate_is_learned_while_the_same_replicas_answer() -> None:
    history = History()
    for second in range(20):
        reading = Reading(
            float(second), 2, arrived_rps=50.0, answered_rps=50.0, in_flight=14.0, drain_s=0.1
        )
        history = observe_reading(DECLARED, history, reading, float(second))
    assert history.learned.rate_rps is not None
    assert 25.0 <= history.learned.rate_rps <= 25.0 * 8.0 / 7.0
    assert history.learned.is_sure


@pytest.mark.parametrize("interval_s", [0.2, 1.0, 2.0, 5.0, 15.0])
def test_it_learns_however_often_it_looks(interval_s: float) -> None:
    history = History()
    for index in range(max(8, int(8.0 / interval_s))):
        at_s = index * interval_s
        reading = Reading(at_s, 2, arrived_rps=50.0, answered_rps=50.0, in_flight=14.0)
        history = observe_reading(DECLARED, history, reading, at_s)
    assert history.learned.is_sure
    assert history.demand is not None
    assert 1.4 < history.demand.replicas < 2.1


def test_nothing_is_learned_of_a_rate_from_looks_that_lack_a_replica() -> None:
    history = History()
    for second in range(20):
        reading = Reading(
            float(second), 2, unknown=1, arrived_rps=50.0, answered_rps=50.0, in_flight=14.0
        )
        history = observe_reading(DECLARED, history, reading, float(second))
    assert history.learned.rate_rps is None


def test_one_blind_look_between_others_is_no_gap() -> None:
    history = History()
    for second in range(10):
        history = observe(DECLARED, history, look(float(second), second * 5.0), float(second))
    blind = observe(DECLARED, history, Sample(10.0, (Replica("a", 0.0, 4.0, None),)), 10.0)
    assert blind.demand is None
    after = observe(DECLARED, blind, look(11.0, 55.0), 11.0)
    assert after.demand is not None
    assert after.highs[0].at_s == 0.0
    assert after.readings[-1].arrived_rps == 5.0
