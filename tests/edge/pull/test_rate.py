"""The cap of a device's downloads, in time that a test tells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.pull.rate import BURST_S, SLICE_S, RateCap


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def cap(self, rate: int | None) -> RateCap:
        return RateCap(rate, clock=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


def nothing() -> None:
    """Nobody cancels."""


@given(st.integers(1, 10**9), st.lists(st.integers(1, 10**6), min_size=1, max_size=50))
def test_never_faster_than_the_cap(rate: int, sizes: list[int]) -> None:
    time = Time()
    cap = time.cap(rate)
    sizes = [min(size, rate * 100) for size in sizes]
    for size in sizes:
        cap.take(size, nothing)
    took_s = sum(sizes) / rate
    assert took_s - BURST_S - 0.001 <= time.now <= took_s + 0.001
    assert max(time.slept, default=0.0) <= SLICE_S


def test_without_a_cap_nothing_waits() -> None:
    time = Time()
    time.cap(None).take(10**12, nothing)
    assert time.slept == []


def test_a_pause_is_not_saved_up() -> None:
    time = Time()
    cap = time.cap(1000)
    time.now = 3600.0
    cap.take(10_000, nothing)
    assert time.now == pytest.approx(3600 + 10 - BURST_S, abs=0.01)


@pytest.mark.parametrize("then", [None, 10**9])
def test_a_cap_that_is_lifted_counts_at_once(then: int | None) -> None:
    time = Time()
    cap = time.cap(1)

    def lift() -> None:
        if time.now > 5:
            cap.bytes_per_s = then

    cap.take(10**6, lift)
    assert time.now < 6


def test_a_cap_that_comes_counts_from_then_on() -> None:
    time = Time()
    cap = time.cap(None)
    cap.take(10**9, nothing)
    cap.bytes_per_s = 1000
    cap.take(1000, nothing)
    assert time.now == pytest.approx(1.0, abs=0.01)


def test_who_is_cancelled_waits_no_longer() -> None:
    time = Time()

    class StopError(Exception):
        pass

    def stop() -> None:
        if time.now >= 1:
            raise StopError

    with pytest.raises(StopError):
        time.cap(1).take(10**6, stop)
    assert time.now < 1 + 2 * SLICE_S
