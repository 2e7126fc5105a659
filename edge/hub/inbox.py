"""What was heard and is not yet in the database: bounded, in all and for each device.

What finds no room is dropped and counted. Nothing is lost by that: telemetry is sent again, as it
is not acknowledged; a device sends its status and what it reports again and again.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from edge.topics import TELEMETRY


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message of a device. ``echo_ms``: the device's monotonic time, from the property "mono"."""

    device: str
    kind: str
    payload: bytes
    echo_ms: int | None = None
    is_retained: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """``device_bytes`` and ``device_parcels``: of one device, so that a loud one leaves room."""

    size_bytes: int = 64 * 1024 * 1024
    parcels: int = 50_000
    device_bytes: int = 8 * 1024 * 1024
    device_parcels: int = 1_000


class Inbox:
    """Two lines, so that a flood of telemetry never drops what devices report."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        bounds = bounds or Bounds()
        self._arrived = threading.Condition()
        self._telemetry = _Line(bounds)
        self._other = _Line(bounds)
        self._is_closed = False

    def offer(self, parcel: Parcel) -> bool:
        """False when there is no room for it, or the inbox is closed."""
        with self._arrived:
            line = self._telemetry if parcel.kind == TELEMETRY else self._other
            if self._is_closed or not line.offer(parcel):
                return False
            self._arrived.notify()
            return True

    def take(self, max_bytes: int, max_parcels: int, timeout_s: float) -> list[Parcel]:
        """What has come, up to a bound, of each device in turn and in order; waits for the first
        one."""
        with self._arrived:
            if not (self._telemetry or self._other) and not self._is_closed:
                self._arrived.wait(timeout_s)
            taken = self._other.take(max_bytes, max_parcels)
            return taken + self._telemetry.take(max_bytes, max_parcels - len(taken))

    def close(self) -> None:
        """Nothing more comes in; what is there can be taken."""
        with self._arrived:
            self._is_closed = True
            self._arrived.notify_all()

    def size_bytes(self) -> int:
        """Of what waits."""
        with self._arrived:
            return self._telemetry.size_bytes + self._other.size_bytes


class _Line:
    """Taken from each device in turn, so that none waits for the many messages of another."""

    def __init__(self, bounds: Bounds) -> None:
        self.size_bytes = 0
        self._parcels = 0
        self._bounds = bounds
        self._waiting: dict[str, deque[Parcel]] = {}
        self._bytes_of: dict[str, int] = {}

    def __len__(self) -> int:
        return self._parcels

    def offer(self, parcel: Parcel) -> bool:
        size, device, bounds = len(parcel.payload), parcel.device, self._bounds
        waiting = self._waiting.get(device, ())
        if (
            self.size_bytes + size > bounds.size_bytes
            or self._parcels >= bounds.parcels
            or self._bytes_of.get(device, 0) + size > bounds.device_bytes
            or len(waiting) >= bounds.device_parcels
        ):
            return False
        self._waiting.setdefault(device, deque()).append(parcel)
        self._bytes_of[device] = self._bytes_of.get(device, 0) + size
        self.size_bytes += size
        self._parcels += 1
        return True

    def take(self, max_bytes: int, max_parcels: int) -> list[Parcel]:
        taken: list[Parcel] = []
        size = 0
        while self._waiting and len(taken) < max_parcels and size < max_bytes:
            device = next(iter(self._waiting))
            parcels = self._waiting.pop(device)
            parcel = parcels.popleft()
            size += len(parcel.payload)
            self._bytes_of[device] -= len(parcel.payload)
            if parcels:
                self._waiting[device] = parcels  # behind all others
            else:
                del self._bytes_of[device]
            taken.append(parcel)
        self.size_bytes -= size
        self._parcels -= len(taken)
        return taken
