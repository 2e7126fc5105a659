"""Whether the controller does its work: what stands still, and since when. Pure."""

from __future__ import annotations

from collections.abc import Mapping

ENDED_S = 10.0
"""A thread that ended begins anew, or its deployment is gone."""
STILL_S = 120.0
"""What nobody has looked at for so long stands still: a host or an engine hangs."""


def stuck(ticks: Mapping[str, tuple[bool, float]], balancer_age_s: float) -> list[str]:
    """A line for each that stands still. ``ticks``: by deployment, whether its thread is alive and
    how many seconds ago it was looked at."""
    found = []
    if balancer_age_s > STILL_S:
        found.append(f"the balancer was not looked at for {balancer_age_s:.0f} s")
    for name, (is_alive, age_s) in sorted(ticks.items()):
        if not is_alive and age_s > ENDED_S:
            found.append(f"{name}: its thread ended")
        elif age_s > STILL_S:
            found.append(f"{name} was not looked at for {age_s:.0f} s")
    return found
