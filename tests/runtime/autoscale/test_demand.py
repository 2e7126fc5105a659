from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.autoscale.declared import Declared
from runtime.autoscale.demand import Demand, demand
from runtime.autoscale.learned import Learned
from runtime.autoscale.reading import Reading

DECLARED = Declared(target_in_flight=8.0, target_queue_s=0.5, headroom=0.0)
LEARNED = Learned(start_s=10.0, starts_seen=3, rate_rps=10.0, is_sure=True)


def readings(rates: list[float], *, ready: int = 5, in_flight: float = 1.0) -> list[Reading]:
    return [
        Reading(float(i), ready, in_flight=in_flight, arrived_rps=rate, answered_rps=rate)
        for i, rate in enumerate(rates)
    ]


def of(rates: list[float], *, learned: Learned = LEARNED, in_flight: float = 1.0) -> Demand:
    return demand(DECLARED, learned, readings(rates, in_flight=in_flight))


def test_a_steady_load_needs_its_rate() -> None:
    assert of([50.0] * 100).replicas == pytest.approx(5.0, rel=0.02)


def test_a_step_shows_within_a_second_and_in_full_within_a_few() -> None:
    calm = [10.0] * 100
    assert of([*calm, 100.0]).replicas > 6.0
    assert of([*calm, *[100.0] * 8]).replicas > 9.0


def test_noise_that_the_queue_absorbs_needs_nothing_more() -> None:
    noisy = [50.0 + (9.0 if i % 2 else -9.0) for i in range(100)]
    assert of(noisy).replicas < 5.2
    assert not of(noisy).grows


def test_a_rise_is_followed_to_when_a_replica_would_be_ready() -> None:
    rising = [50.0 + i for i in range(60)]
    found = of(rising)
    assert found.grows
    assert found.replicas > (rising[-1] + 8.0) / 10.0
    slow = of(rising, learned=Learned(start_s=1.0, rate_rps=10.0, is_sure=True))
    assert slow.replicas < found.replicas


def test_a_fall_is_not_followed() -> None:
    assert of([100.0 - i for i in range(60)]).replicas > 4.0


def test_what_has_piled_up_needs_more() -> None:
    assert of([50.0] * 100, in_flight=100.0).replicas > of([50.0] * 100).replicas + 0.5


def test_what_waits_in_the_balancer_needs_more() -> None:
    queued = readings([50.0] * 100)
    last = dataclasses.replace(queued[-1], held=100)
    more = demand(DECLARED, LEARNED, [*queued[:-1], last])
    assert more.replicas > demand(DECLARED, LEARNED, queued).replicas + 0.5


def test_without_a_rate_what_is_in_flight_is_compared_with_its_target() -> None:
    assert of([50.0] * 100, learned=Learned(), in_flight=24.0).replicas == 3.0


def test_held_requests_need_one() -> None:
    assert demand(DECLARED, LEARNED, [Reading(1.0, 0, held=7)]).replicas == 1.0
    assert demand(DECLARED, LEARNED, [Reading(1.0, 0)]).replicas == 0.0


def test_held_requests_that_grow_need_as_many_as_their_rate() -> None:
    held = [Reading(float(i), 0, held=100 * i) for i in range(5)]
    assert 10.0 <= demand(DECLARED, LEARNED, held).replicas <= 15.0
    assert demand(DECLARED, Learned(), held).replicas == 1.0


def test_while_nothing_is_known_a_queue_at_most_doubles() -> None:
    assert of([50.0] * 100, learned=Learned(), in_flight=1e6).replicas == 11.0


def test_a_gap_is_not_looked_across() -> None:
    before = readings([1000.0] * 50)
    after = [Reading(500.0 + i, 5, arrived_rps=50.0, in_flight=1.0) for i in range(3)]
    assert demand(DECLARED, LEARNED, [*before, *after]).replicas < 6.0


RATES = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=80)


@given(RATES, st.sampled_from([1.0, 2.0, 4.0, 8.0]), st.floats(0.0, 1e4))
def test_more_load_never_needs_less(rates: list[float], factor: float, in_flight: float) -> None:
    once = of(rates, in_flight=in_flight)
    more = of([rate * factor for rate in rates], in_flight=in_flight)
    assert more.replicas >= once.replicas * (1 - 1e-6) - 1e-9


@given(RATES, st.integers(0, 100))
def test_the_need_is_a_number_that_covers_the_last_second(rates: list[float], ready: int) -> None:
    found = demand(DECLARED, LEARNED, readings(rates, ready=ready))
    assert math.isfinite(found.replicas)
    if ready:
        assert found.replicas >= rates[-1] / 1.5 / 10.0 - 1e-6
