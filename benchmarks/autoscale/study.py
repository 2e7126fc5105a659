"""One load under every policy and against the ideal, as rows of a table.

What each policy is told was chosen on another week (``python -m benchmarks.autoscale --tune``): the
cheapest of a dozen settings that misses no more than is allowed there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.autoscale import load as loads
from benchmarks.autoscale.ideal import Ideal, ideal
from benchmarks.autoscale.load import DAY_S, Load, Rates, Rng
from benchmarks.autoscale.policies.fixed import Fixed
from benchmarks.autoscale.policies.knative import Knative
from benchmarks.autoscale.policies.ours import Ours
from benchmarks.autoscale.policies.port import Policy
from benchmarks.autoscale.policies.proportional import Proportional
from benchmarks.autoscale.service import Service
from benchmarks.autoscale.simulator import Result, simulate
from runtime.autoscale.declared import Declared

ALLOWED = 0.001
"""Part of the requests that may be missed."""
MEAN_REPLICAS = 10
MOST_REPLICAS = 100
SEED = 2
TUNING_SEED = 1
WEEK = "week"
SLEEPS = "on-off, asleep between"

KINDS: Mapping[str, Callable[[int, Rng], Rates]] = {
    "diurnal": loads.diurnal,
    "spikes": loads.spikes,
    "10x step": loads.step,
    "bursty (MMPP)": loads.bursty,
    "on-off": loads.on_off,
    SLEEPS: loads.on_off,
    "flash crowd": loads.flash_crowd,
}
PATIENT = Service(deadline_s=20.0)
"""Clients that wait for a replica to start; with less patience, nothing may sleep."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the load is replayed on."""

    service: Service
    mean: float = MEAN_REPLICAS
    least: int = 1
    most: int = MOST_REPLICAS


@dataclass(frozen=True, slots=True)
class Row:
    """One policy on one load."""

    load: str
    policy: str
    result: Result


def generated(name: str, *, mean: float = MEAN_REPLICAS, seed: int = SEED) -> tuple[Load, Setting]:
    """A day of this kind, or the week, whose mean needs about ``mean`` replicas. What sleeps needs
    one when it is on: more than a few hundred requests a second are not held (activation.py)."""
    service = PATIENT if name == SLEEPS else Service()
    mean = 1.0 if name == SLEEPS else mean
    rng = np.random.default_rng(seed)
    rates = loads.week(rng) if name == WEEK else KINDS[name](DAY_S, rng)
    arrivals = loads.counts(rates * mean * service.rate_rps, rng)
    step_at_s = DAY_S // 4 if name == "10x step" else None
    return Load(name, arrivals, step_at_s), Setting(service, mean, 0 if name == SLEEPS else 1)


def policies(setting: Setting) -> dict[str, Callable[[], Policy]]:
    """Each made anew, for each load. Those by rate are told what a replica can do; ours learns."""
    least, most, rate = setting.least, setting.most, setting.service.rate_rps
    return {
        "HPA, in flight": lambda: Proportional(4.0, max(1, least), most),
        "HPA, requests/s": lambda: Proportional(0.9 * rate, max(1, least), most, by_rate=True),
        "Knative, in flight": lambda: Knative(3.0, least, most),
        "Knative, requests/s": lambda: Knative(0.8 * rate, least, most, by_rate=True),
        "ours": lambda: Ours(declared(setting)),
    }


def declared(setting: Setting, *, target: float = 20.0, headroom: float = 0.02) -> Declared:
    """What ours is told."""
    return Declared(
        min_replicas=setting.least,
        max_replicas=setting.most,
        target_in_flight=target,
        target_queue_s=0.5,
        headroom=headroom,
    )


def replay(load: Load, setting: Setting, name: str) -> Row:
    """One policy on one load."""
    if name == "fixed":
        return Row(load.name, name, fixed(load, setting))
    policy = policies(setting)[name]()
    return Row(load.name, name, simulate(load, setting.service, policy, first=first(setting)))


def first(setting: Setting) -> int:
    """Replicas to begin with."""
    return max(setting.least, round(setting.mean)) if setting.least else 0


def fixed(load: Load, setting: Setting) -> Result:
    """The fewest replicas that, always there, miss no more than is allowed: found by trying, so
    whoever chose them knew the load."""
    low, high = 1, setting.most
    while low < high:
        middle = (low + high) // 2
        found = simulate(load, setting.service, Fixed(middle), first=middle)
        low, high = (low, middle) if found.missed_share <= ALLOWED else (middle + 1, high)
    return simulate(load, setting.service, Fixed(low), first=low)


def bound(load: Load, setting: Setting) -> Ideal:
    """What nobody can go below."""
    return ideal(load, setting.service, least=setting.least, most=setting.most, allowed=ALLOWED)
