from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.autoscale.declared import Declared
from runtime.autoscale.learned import (
    LONGEST_HOLD_S,
    LONGEST_START_S,
    Learned,
    Look,
    hold_s,
    with_rate,
    with_start,
)

DECLARED = Declared(target_in_flight=8.0, target_queue_s=0.5)


def seen(
    learned: Learned, rate_rps: float, in_flight: float, drain_s: float = 0.1, looks: int = 60
) -> Learned:
    """After as many looks as it takes to believe what they show."""
    for _ in range(looks):
        learned = with_rate(learned, DECLARED, Look(rate_rps, in_flight, drain_s, 100.0))
    return learned


def test_the_first_start_is_believed() -> None:
    assert with_start(Learned(), 12.0).start_s == 12.0


def test_slow_starts_count_more_than_fast_ones() -> None:
    learned = Learned()
    for _ in range(50):
        for took_s in (10.0, 10.0, 10.0, 20.0):
            learned = with_start(learned, took_s)
    assert 13.0 < learned.start_s < 20.0


def test_what_takes_long_to_start_is_kept_longer() -> None:
    declared = Declared(down_s=60.0)
    assert hold_s(declared, Learned()) == 60.0
    assert hold_s(declared, with_start(Learned(), 1.0)) == 60.0
    assert hold_s(declared, with_start(Learned(), 50.0)) == 300.0
    assert hold_s(declared, with_start(Learned(), 3600.0)) == LONGEST_HOLD_S


@pytest.mark.parametrize("took_s", [math.nan, math.inf, -1.0, -math.inf])
def test_a_start_that_cannot_be_teaches_nothing(took_s: float) -> None:
    assert with_start(Learned(), took_s) == Learned()


def test_a_start_without_end_is_bounded() -> None:
    assert with_start(Learned(), 1e300).start_s == LONGEST_START_S


def test_a_rate_is_between_what_was_done_and_what_the_rest_of_the_target_allows() -> None:
    learned = seen(Learned(), 40.0, 2.0, looks=1)
    assert learned.rate_rps is not None
    assert 40.0 < learned.rate_rps < 160.0
    assert not learned.is_sure


def test_the_nearer_to_the_target_the_surer() -> None:
    learned = seen(seen(Learned(), 40.0, 2.0), 75.0, 7.0)
    assert learned.rate_rps is not None
    assert 74.0 <= learned.rate_rps <= 75.0 * 8.0 / 7.0
    assert learned.is_sure


def test_a_service_that_became_slower_is_noticed_before_it_is_full() -> None:
    learned = seen(Learned(rate_rps=100.0, is_sure=True), 20.0, 4.0)
    assert learned.rate_rps == pytest.approx(40.0, rel=0.01)


def test_a_service_that_became_faster_is_noticed_though_nobody_asks_for_more() -> None:
    """Fewer replicas are then wanted, which shows whether it is true."""
    learned = Learned(rate_rps=20.0, is_sure=True)
    for _ in range(40):
        assert learned.rate_rps is not None
        learned = seen(learned, learned.rate_rps, 2.0, looks=10)
    assert learned.rate_rps is not None
    assert learned.rate_rps > 40.0


def test_replicas_that_do_less_than_they_could_show_nothing() -> None:
    known = Learned(rate_rps=100.0, is_sure=True)
    assert seen(known, 30.0, 1.0) == known
    full = seen(known, 99.0, 7.0)
    assert full.rate_rps is not None
    assert full.rate_rps <= 100.0, "there is no room to try more"


def test_one_request_that_happens_to_be_seen_says_nothing() -> None:
    """On a quiet service a look finds nothing in flight, or now and then one."""
    known = Learned(rate_rps=100.0, is_sure=True)
    for in_flight in (0.0, 1.0, 4.0):
        look = Look(0.2, in_flight, 0.05, in_flight)
        assert with_rate(known, DECLARED, look) == known
        assert with_rate(Learned(), DECLARED, look) == Learned()


def test_full_replicas_show_their_rate() -> None:
    learned = seen(Learned(rate_rps=100.0, is_sure=True), 50.0, 30.0)
    assert learned.rate_rps == pytest.approx(50.0, rel=0.01)
    assert seen(Learned(), 50.0, 30.0, looks=1).rate_rps == 50.0


def test_a_slow_request_alone_does_not_make_a_replica_full() -> None:
    assert seen(Learned(), 0.5, 1.0, drain_s=2.0, looks=1).rate_rps is None
    assert seen(Learned(), 0.5, 3.0, drain_s=6.0, looks=1).rate_rps == 0.5


@given(st.floats(), st.floats(), st.floats(), st.none() | st.floats(1e-6, 1e6))
def test_nothing_makes_a_rate_that_cannot_be(
    rate_rps: float, in_flight: float, drain_s: float, known: float | None
) -> None:
    learned = seen(Learned(rate_rps=known), rate_rps, in_flight, drain_s)
    assert learned.rate_rps is None or learned.rate_rps > 0.0
    assert learned.rate_rps is None or not math.isnan(learned.rate_rps)
