from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from benchmarks.autoscale import load as loads
from benchmarks.autoscale.exact import follow
from benchmarks.autoscale.load import Load
from benchmarks.autoscale.policies.fixed import Fixed
from benchmarks.autoscale.policies.ours import Ours
from benchmarks.autoscale.service import Service
from benchmarks.autoscale.simulator import simulate
from runtime.autoscale.declared import Declared
from runtime.autoscale.reading import Reading

SERVICE = Service()
FIXED_START = Service(start_s=(10.0, 10.0))


@dataclass(slots=True)
class Script:
    """So many replicas from the given seconds on."""

    plan: dict[int, int]
    interval_s: int = 1
    seen: list[Reading] = field(default_factory=list)

    def replicas(self, reading: Reading, wanted: int) -> int:
        self.seen.append(reading)
        return self.plan.get(int(reading.at_s), wanted)


def flat(rps: float, seconds: int, *, seed: int = 0) -> Load:
    return Load("flat", loads.counts(np.full(seconds, rps), np.random.default_rng(seed)))


def even(rps: int, seconds: int) -> Load:
    return Load("even", np.full(seconds, rps, dtype=np.int64))


def test_a_replica_is_paid_for_each_second() -> None:
    found = simulate(even(10, 100), SERVICE, Fixed(3), first=3)
    assert (found.replica_s, found.missed, found.changes) == (300.0, 0.0, 0)


def test_a_start_takes_its_time_and_is_paid_for() -> None:
    script = Script({20: 2})
    found = simulate(even(10, 100), FIXED_START, script, first=1)
    assert [reading.ready for reading in script.seen].index(2) == 30
    assert script.seen[30].starts_s == (10.0,)
    assert found.replica_s == 100.0 + 80.0


def test_what_does_not_fit_is_missed() -> None:
    rate = SERVICE.rate_rps
    found = simulate(even(int(rate * 2), 100), SERVICE, Fixed(1), first=1)
    assert found.missed_share == pytest.approx(0.5, abs=0.01)


def test_a_replica_that_goes_finishes_its_work_and_is_paid_for_it() -> None:
    rate = SERVICE.rate_rps
    rising = Load("x", np.array([int(rate * 2.5), 10, 10, 10], dtype=np.int64))
    found = simulate(rising, SERVICE, Script({1: 1}), first=2)
    assert found.missed == 0.0
    assert 5.0 < found.replica_s < 6.0


def test_what_comes_while_there_is_none_is_held_and_answered_if_it_can_wait() -> None:
    once = Load("x", np.array([0] * 5 + [1] + [0] * 30, dtype=np.int64))
    patient = Service(deadline_s=20.0, start_s=(10.0, 10.0))
    assert simulate(once, patient, Script({6: 1}), first=0).missed == 0.0
    assert simulate(once, FIXED_START, Script({6: 1}), first=0).missed == 1.0
    assert simulate(once, patient, Script({}), first=0).missed == 1.0


def test_time_to_capacity_is_counted_from_the_step() -> None:
    arrivals = np.array([80] * 50 + [800] * 100, dtype=np.int64)
    found = simulate(Load("x", arrivals, 50), FIXED_START, Script({55: 10}), first=1)
    assert found.to_capacity_s == 15


@pytest.mark.parametrize("part", [0.3, 0.7, 0.9, 1.1])
def test_seconds_agree_with_requests(part: float) -> None:
    """The same load on the same replicas, in flight and missed."""
    load = flat(part * 3 * SERVICE.rate_rps, 100)
    coarse, fine = Script({}), Script({})
    one = simulate(load, SERVICE, coarse, first=3)
    other = follow(load, SERVICE, fine, first=3)
    assert one.missed_share == pytest.approx(other.missed_share, abs=0.01)
    assert one.replica_s == other.replica_s
    mean = [sum(r.in_flight for r in script.seen[20:]) / 80.0 for script in (coarse, fine)]
    assert mean[0] == pytest.approx(mean[1], rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [loads.step, loads.bursty])
def test_our_policy_pays_and_misses_alike_in_both(kind: object) -> None:
    assert callable(kind)
    rng = np.random.default_rng(5)
    load = Load("x", loads.counts(kind(600, rng) * 3 * SERVICE.rate_rps, rng))
    declared = Declared(max_replicas=40, target_in_flight=20.0, headroom=0.02)
    one = simulate(load, SERVICE, Ours(declared), first=3)
    other = follow(load, SERVICE, Ours(declared), first=3)
    assert one.replica_s == pytest.approx(other.replica_s, rel=0.15)
    assert one.missed_share == pytest.approx(other.missed_share, abs=0.01)


def test_a_door_that_reckons_with_a_small_batch_breaks_down() -> None:
    """Why the simulated door reckons with a full one: scoring/policy.py has to as well, for what
    is found here to hold."""
    load = flat(1.1 * 3 * SERVICE.rate_rps, 60)
    assert follow(load, SERVICE, Fixed(3), first=3).missed_share < 0.15
    assert follow(load, SERVICE, Fixed(3), first=3, is_tight=True).missed_share > 0.5
