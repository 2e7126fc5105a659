"""A device's time, which does not need its wall clock to be right.

What happened is stamped with (boot id, milliseconds since that boot), which no one can set. What
the hub says in its Acks gives, for each boot, the distance to the hub's clock; it is kept in a
file, so that what was stamped before a power cut gets its time after it.

    clock = DeviceClock(state / "clock.json")
    stamp = clock.stamp()
    message.properties["mono"] = clock.mark()       # of each message to the hub
    clock.observe(ack.time_ms, ack.echo_ms)         # of each Ack
    clock.hub_time_ms(stamp)                        # since 1970; None: not known (yet)
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

KEPT_BOOTS = 64
KEPT_SAMPLES = 16
KEPT_MARKS = 512
MAX_ROUND_TRIP_MS = 60_000
SAMPLE_AGE_MS = 3_600_000
WRITE_FROM_MS = 250
"""A smaller change of the distance is not worth a write."""


class Stamp(NamedTuple):
    """When, on this device. ``mono_ms``: since boot, time asleep included."""

    boot: str
    mono_ms: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of the hub: its clock is ``offset_ms`` before ours, give or take ``error_ms``."""

    offset_ms: int
    error_ms: int
    at_ms: int


def boot_id() -> str:
    """The kernel's, new at each boot; a constant where there is no Linux."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def boottime_ms() -> int:
    """Since boot, time asleep included."""
    kind = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(kind) // 1_000_000


def wall_time_ms() -> int:
    """Of the device's own clock, which may be wrong."""
    return time.time_ns() // 1_000_000


def measure(hub_ms: int, sent_ms: int, now_ms: int) -> Sample | None:
    """What an answer tells that the hub gave at its ``hub_ms`` to what we sent at ``sent_ms``.
    None when the answer took too long to tell anything."""
    round_trip_ms = now_ms - sent_ms
    if not 0 <= round_trip_ms <= MAX_ROUND_TRIP_MS:
        return None
    half = (round_trip_ms + 1) // 2
    return Sample(hub_ms - (sent_ms + round_trip_ms // 2), half + 1, now_ms)


def fold(samples: tuple[Sample, ...], new: Sample) -> tuple[Sample, ...]:
    """The samples to go on with. What contradicts the new one was before the hub's clock was set,
    or ours drifted."""
    kept = [
        old
        for old in samples
        if abs(old.offset_ms - new.offset_ms) <= old.error_ms + new.error_ms
        and new.at_ms - old.at_ms <= SAMPLE_AGE_MS
    ]
    return (*kept[-(KEPT_SAMPLES - 1) :], new)


def best(samples: tuple[Sample, ...]) -> Sample | None:
    """The one that knows it most closely."""
    return min(samples, key=lambda sample: sample.error_ms, default=None)


class DeviceClock:
    """Any thread may call it. ``path`` None: nothing is kept over a boot."""

    def __init__(
        self,
        path: Path | None,
        *,
        boot: str | None = None,
        mono_ms: Callable[[], int] = boottime_ms,
        wall_ms: Callable[[], int] = wall_time_ms,
    ) -> None:
        self.boot = boot if boot is not None else boot_id()
        self.wall_ms = wall_ms
        self._path = path
        self._mono_ms = mono_ms
        self._lock = threading.Lock()
        self._samples: tuple[Sample, ...] = ()
        self._marks: deque[int] = deque(maxlen=KEPT_MARKS)
        self._offsets = _read(path)
        self._written = self._offsets.get(self.boot)

    def mono_ms(self) -> int:
        """Since this boot."""
        return self._mono_ms()

    def stamp(self) -> Stamp:
        """Now."""
        return Stamp(self.boot, self._mono_ms())

    def mark(self) -> str:
        """For the user property "mono" of a message to the hub: now, and each time a larger number,
        so that an echo belongs to one message."""
        with self._lock:
            last = self._marks[-1] if self._marks else -1
            now = max(self._mono_ms(), last + 1)
            self._marks.append(now)
        return str(now)

    def observe(self, hub_ms: int, echo_ms: int | None) -> bool:
        """An Ack was received. Whether it told the time: its echo must be a mark of this process,
        not of a boot before, and fresh."""
        now = self._mono_ms()
        with self._lock:
            if echo_ms is None or echo_ms not in self._marks:
                return False
            sample = measure(hub_ms, echo_ms, max(now, echo_ms))
            if sample is None:
                return False
            self._samples = fold(self._samples, sample)
            found = best(self._samples)
            assert found is not None
            self._offsets.pop(self.boot, None)
            self._offsets[self.boot] = found.offset_ms
            if self._written is None or abs(self._written - found.offset_ms) >= WRITE_FROM_MS:
                self._written = found.offset_ms
                self._write()
        return True

    def hub_time_ms(self, stamp: Stamp) -> int | None:
        """The hub's time at ``stamp``. None when in that boot the hub was never heard."""
        with self._lock:
            offset = self._offsets.get(stamp.boot)
        return None if offset is None else offset + stamp.mono_ms

    def hub_now_ms(self) -> int | None:
        """The hub's time now."""
        return self.hub_time_ms(self.stamp())

    def _write(self) -> None:
        if self._path is None:
            return
        for boot in list(self._offsets)[:-KEPT_BOOTS]:
            del self._offsets[boot]
        with contextlib.suppress(OSError):  # the next sample tries again; a full disk is no reason
            _replace(self._path, json.dumps({"v": 1, "boots": self._offsets}).encode())
            return
        self._written = None


def _read(path: Path | None) -> dict[str, int]:
    """By boot. What cannot be read is as if it had never been there."""
    if path is None:
        return {}
    try:
        found = json.loads(path.read_bytes())["boots"]
        return {str(boot): int(offset) for boot, offset in found.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
    except (OverflowError, RecursionError):
        return {}


def _replace(path: Path, data: bytes) -> None:
    """Old or new, at any moment."""
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
