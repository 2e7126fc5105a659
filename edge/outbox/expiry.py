"""How late it is, for records of this boot and of earlier ones, whatever the wall clock says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge.clock import Stamp
from edge.outbox.table import Boot


def horizons(
    boots: Sequence[Boot], now: Stamp, hub_time_ms: Callable[[Stamp], int | None]
) -> dict[int, int]:
    """For each boot's row: the earliest that it can be now, in the monotonic time of that boot.

    This boot's is exact. For an earlier one it is exact when the hub's time is known in both; else
    as late as was seen in it, and all that has run since: a record is kept longer rather than
    dropped too early. ``boots``: in their order."""
    found: dict[int, int] = {}
    since_ms = now.mono_ms
    hub_now = hub_time_ms(now)
    for boot in reversed(boots):
        if boot.boot == now.boot:
            found[boot.id] = now.mono_ms
            continue
        began = hub_time_ms(Stamp(boot.boot, 0))
        if began is not None and hub_now is not None:
            found[boot.id] = hub_now - began
        else:
            found[boot.id] = boot.last_mono_ms + since_ms
        since_ms += boot.last_mono_ms
    return found
