from __future__ import annotations

import pytest

from benchmarks.autoscale import study, tuning
from benchmarks.autoscale.load import HOUR_S, Load
from benchmarks.autoscale.policies.fixed import Fixed
from benchmarks.autoscale.policies.port import Policy
from benchmarks.autoscale.simulator import simulate


def part(name: str, hours: float) -> tuple[Load, study.Setting]:
    load, setting = study.generated(name)
    return Load(name, load.arrivals[: int(hours * HOUR_S)]), setting


@pytest.mark.slow
def test_ours_is_within_a_sixth_of_the_ideal_on_a_calm_morning() -> None:
    load, setting = part("diurnal", 3.0)
    row = study.replay(load, setting, "ours")
    bound = study.bound(load, setting)
    assert row.result.missed_share <= study.ALLOWED
    assert row.result.replica_s <= 1.3 * bound.allowed_missed_s, "few replicas are there at night"


def test_the_best_fixed_number_misses_no_more_than_is_allowed_and_one_less_does() -> None:
    load, setting = part("spikes", 2.0)
    row = study.replay(load, setting, "fixed")
    assert row.result.missed_share <= study.ALLOWED
    fewer = simulate(
        load,
        setting.service,
        Fixed(row.result.most - 1),
        first=row.result.most - 1,
    )
    assert fewer.missed_share > study.ALLOWED


def test_what_sleeps_is_woken_and_misses_hardly_anything() -> None:
    load, setting = part(study.SLEEPS, 2.0)
    row = study.replay(load, setting, "ours")
    assert row.result.missed_share <= study.ALLOWED
    always = study.replay(load, setting, "fixed")
    assert row.result.replica_s < 0.8 * always.result.replica_s


def test_all_settings_are_policies() -> None:
    policy: Policy
    for make in tuning.settings().values():
        policy = make()
        assert policy.interval_s >= 1
