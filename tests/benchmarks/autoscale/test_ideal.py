from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.autoscale import ideal as ideals
from benchmarks.autoscale import load as loads
from benchmarks.autoscale import study
from benchmarks.autoscale.ideal import ideal
from benchmarks.autoscale.load import Load
from benchmarks.autoscale.service import Service
from benchmarks.autoscale.simulator import simulate
from benchmarks.autoscale.study import Setting

# A replica does 10 a second, and a tenth of a second's work is one request: no rounding.
SERVICE = Service(a_s=0.1, b_s=0.0, max_batch=1, deadline_s=0.7, start_s=(3.0, 3.0))


def tried(arrivals: list[int], most: int) -> float:
    """The cheapest of all schedules that miss nothing, by trying all."""
    best = float("inf")
    for schedule in itertools.product(range(most + 1), repeat=len(arrivals)):
        cost, queue, before = 0.0, 0, schedule[0]
        for replicas, count in zip(schedule, arrivals, strict=True):
            cost += replicas + 3.0 * max(0, replicas - before)
            queue = max(0, queue + count - 10 * replicas)
            before = replicas
            if queue > replicas * 5:
                break
        else:
            best = min(best, cost)
    return best


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 29), min_size=1, max_size=6))
def test_it_is_what_trying_everything_finds(arrivals: list[int]) -> None:
    load = Load("x", np.array(arrivals, dtype=np.int64))
    found = ideal(load, SERVICE, least=0, most=3, allowed=0.0).nothing_missed_s
    assert found == pytest.approx(tried(arrivals, 3))


def test_who_may_miss_some_pays_less_but_never_less_than_nothing() -> None:
    rng = np.random.default_rng(1)
    load = Load("x", loads.counts(np.full(1500, 200.0), rng))
    strict = ideal(load, Service(), least=1, most=20, allowed=0.0)
    lax = ideal(load, Service(), least=1, most=20, allowed=0.05)
    assert 0.0 < lax.allowed_missed_s < strict.nothing_missed_s
    assert strict.allowed_missed_s <= strict.nothing_missed_s * (1 + 1e-9)


@pytest.mark.parametrize("kind", ["spikes", "bursty (MMPP)", "flash crowd"])
def test_no_policy_goes_below_it(kind: str) -> None:
    rng = np.random.default_rng(3)
    service = Service()
    rates = study.KINDS[kind](1800, rng) * 4 * service.rate_rps
    load = Load(kind, loads.counts(rates, rng))
    setting = Setting(service, 4.0, 1, 30)
    bound = ideal(load, service, least=1, most=30, allowed=study.ALLOWED)
    for name, policy in study.policies(setting).items():
        found = simulate(load, service, policy(), first=4)
        if found.missed == 0.0:
            assert found.replica_s >= bound.nothing_missed_s * 0.999, name
        if found.missed_share <= study.ALLOWED:
            assert found.replica_s >= bound.allowed_missed_s * 0.999, name


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    load = Load("x", loads.counts(loads.bursty(1500, rng) * 300.0, rng))
    whole = ideal(load, Service(), least=1, most=12, allowed=0.001)
    monkeypatch.setattr(ideals, "BLOCK_S", 10_000)
    other = ideal(load, Service(), least=1, most=12, allowed=0.001)
    assert whole.nothing_missed_s == pytest.approx(other.nothing_missed_s, rel=0.002)
    assert whole.allowed_missed_s == pytest.approx(other.allowed_missed_s, rel=0.002)
