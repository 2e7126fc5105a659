"""How many bytes a day telemetry may take on the wire. Pure; the day is UTC by the hub's clock, and
counted from the boot as long as that is not known.

What is more important keeps a part of the day's bytes to itself: priority 0 may spend all of it,
3 only half.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

DAY_MS = 86_400_000
SHARES = (1.0, 0.9, 0.75, 0.5)
"""Of the day's bytes, up to where each priority may go."""


@dataclass(frozen=True, slots=True)
class Budget:
    """``day``: days since 1970, or since the boot (negative)."""

    day: int = 0
    spent_bytes: int = 0

    def at(self, day: int) -> Budget:
        """On that day. When the clock becomes known in mid-day, what was spent goes along."""
        if day == self.day:
            return self
        is_same_day = (day >= 0) != (self.day >= 0)
        return Budget(day, self.spent_bytes if is_same_day else 0)

    def allows(self, size_bytes: int, stream: int, bytes_per_day: int | None) -> bool:
        """Whether a message of this size may go now. The first of a day may be larger than the
        day's bytes: one record that is so large must not stand in the way for ever."""
        left = self.left_bytes(stream, bytes_per_day)
        if left is None or (self.spent_bytes == 0 and bytes_per_day):
            return True
        return size_bytes <= left

    def left_bytes(self, stream: int, bytes_per_day: int | None) -> int | None:
        """What this priority may still spend today; None: there is no bound."""
        if bytes_per_day is None:
            return None
        share = SHARES[min(stream, len(SHARES) - 1)]
        return max(0, int(bytes_per_day * share) - self.spent_bytes)

    def spend(self, size_bytes: int) -> Budget:
        """After it was sent."""
        return Budget(self.day, self.spent_bytes + size_bytes)

    def encode(self) -> bytes:
        """To be kept."""
        return json.dumps([self.day, self.spent_bytes]).encode()


def decode(data: bytes | None) -> Budget:
    """What was kept; a new one when it cannot be read."""
    try:
        day, spent = json.loads(data or b"")
        return Budget(int(day), int(spent))
    except (ValueError, TypeError, RecursionError, OverflowError):
        return Budget()


def day_of(hub_now_ms: int | None, mono_ms: int) -> int:
    """Days since 1970, or, when the hub's time is not known, -1, -2 ... since the boot."""
    return hub_now_ms // DAY_MS if hub_now_ms is not None else -1 - mono_ms // DAY_MS
