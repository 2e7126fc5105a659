"""What each policy is told, chosen on the week of another seed: every setting's cost and misses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.autoscale import study
from benchmarks.autoscale.policies.knative import Knative
from benchmarks.autoscale.policies.ours import Ours
from benchmarks.autoscale.policies.port import Policy
from benchmarks.autoscale.policies.proportional import Proportional
from benchmarks.autoscale.simulator import Result, simulate

IN_FLIGHT = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0)
SHARES = (0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
TARGETS = ((12.0, 0.05), (16.0, 0.05), (16.0, 0.03), (20.0, 0.05), (20.0, 0.02), (20.0, 0.0))


def settings() -> dict[str, Callable[[], Policy]]:
    """All that is tried."""
    _, setting = study.generated(study.WEEK)
    most, rate = setting.most, setting.service.rate_rps
    found: dict[str, Callable[[], Policy]] = {}
    for target in IN_FLIGHT:
        name = f"{target:g} in flight"
        found[f"HPA, {name}"] = partial(Proportional, target, 1, most)
        found[f"Knative, {name}"] = partial(Knative, target, 1, most)
    for share in SHARES:
        name = f"{share:.0%} of a replica's requests/s"
        found[f"HPA, {name}"] = partial(Proportional, share * rate, 1, most, by_rate=True)
        found[f"Knative, {name}"] = partial(Knative, share * rate, 1, most, by_rate=True)
    for target, headroom in TARGETS:
        name = f"{target:g} in flight, headroom {headroom:.0%}"
        declared = study.declared(setting, target=target, headroom=headroom)
        found[f"ours, {name}"] = partial(Ours, declared)
    return found


def tried(name: str) -> tuple[str, Result]:
    """One setting on the tuning week."""
    load, setting = study.generated(study.WEEK, seed=study.TUNING_SEED)
    policy = settings()[name]()
    return name, simulate(load, setting.service, policy, first=study.first(setting))
