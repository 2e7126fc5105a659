"""What a deployment's owner declares about its scale; nothing here changes by itself.

Declared(min_replicas=1, max_replicas=20, target_in_flight=8, target_queue_s=0.5)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from runtime.errors import BadValueError

MOST_REPLICAS = 10_000
LONGEST_S = 7 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """Raises BadValueError for what no scale can follow, and says which value it is."""

    min_replicas: int = 1
    """0: the deployment may sleep when nobody asks (see activation.py)."""
    max_replicas: int = 10
    target_in_flight: float = 8.0
    """Requests in a replica, waiting ones included, at which it does as much as it should."""
    target_queue_s: float = 0.5
    """Seconds in which a replica should have answered all that it has (expected drain)."""
    up_s: float = 0.0
    """More is needed for so long before replicas are added; 0: at once. Panic does not wait."""
    down_s: float = 60.0
    """Fewer have been enough for so long, at least, before replicas are taken away; longer where
    they take long to start (learned.hold_s)."""
    panic_threshold: float = 2.0
    """So many times what the ready replicas can do is a panic."""
    panic_window_s: float = 6.0
    """The load of so many seconds tells a panic."""
    zero_grace_s: float = 300.0
    """With ``min_replicas`` 0: nobody has asked for so long before the last replica goes."""
    headroom: float = 0.05
    """Part of the load that is kept free, for what cannot be foreseen."""
    stale_s: float = 15.0
    """What was seen so long ago says nothing about now, and takes no replica away. Several times
    what lies between two looks."""

    def __post_init__(self) -> None:
        _whole("min_replicas", self.min_replicas, 0)
        _whole("max_replicas", self.max_replicas, max(1, self.min_replicas))
        _number("target_in_flight", self.target_in_flight, 0.01, 1e6)
        _number("target_queue_s", self.target_queue_s, 0.001, 3600.0)
        for name in ("up_s", "down_s", "zero_grace_s"):
            _number(name, getattr(self, name), 0.0, LONGEST_S)
        _number("panic_threshold", self.panic_threshold, 1.0, 1000.0)
        _number("panic_window_s", self.panic_window_s, 1.0, 3600.0)
        _number("headroom", self.headroom, 0.0, 10.0)
        _number("stale_s", self.stale_s, 1.0, 3600.0)

    def within(self, replicas: int) -> int:
        """The nearest number of replicas that is declared."""
        return min(max(replicas, self.min_replicas), self.max_replicas)


def _whole(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadValueError(f"{name} is a whole number")
    if not least <= value <= MOST_REPLICAS:
        raise BadValueError(f"{name} is {least} to {MOST_REPLICAS}, not {str(value)[:20]}")


def _number(name: str, value: float, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValueError(f"{name} is a number")
    if not (least <= value <= most and math.isfinite(value)):  # NaN is not between anything
        raise BadValueError(f"{name} is {least:g} to {most:g}, not {value:g}")
