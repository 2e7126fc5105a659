"""The highest (or lowest) need of a long window in a few dozen numbers, however often it is seen.

The window is kept in parts; a part goes when the next one reaches back to the window's beginning.
So what is kept covers the whole window once it has been watched for so long, and at most one part
more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PARTS = 60


@dataclass(frozen=True, slots=True)
class Part:
    """The extreme of the needs seen from ``at_s`` on, until the next part begins."""

    at_s: float
    need: float


Parts = tuple[Part, ...]
Pick = Callable[[float, float], float]


def with_need(parts: Parts, pick: Pick, window_s: float, now_s: float, need: float) -> Parts:
    """The parts with one more need, picked by ``max`` or ``min``."""
    if parts and now_s - parts[-1].at_s < window_s / PARTS:
        last = parts[-1]
        parts = (*parts[:-1], Part(last.at_s, pick(last.need, need)))
    else:
        parts = (*parts, Part(now_s, need))
    start = 0
    while start + 1 < len(parts) and parts[start + 1].at_s <= now_s - window_s:
        start += 1
    return parts[start:]


def extreme(parts: Parts, pick: Pick, window_s: float, now_s: float) -> float | None:
    """The extreme of the window that ends now; None: it has not been watched for so long."""
    if not parts or parts[0].at_s > now_s - window_s:
        return None
    found = parts[0].need
    for part in parts[1:]:
        found = pick(found, part.need)
    return found
