"""Which batch is sent next, and what an acknowledgement means: go-back-N for each stream. Pure.

A window of batches may be under way, the streams of a lower number first. The hub stores only what
follows what it has, so after a hole everything from it on is sent again. What is under way and not
acknowledged within a time that follows the round trips is sent again too; sooner after a connection
was made, as nothing that was sent on the old one counts.

How many bytes may be under way grows while answers come quickly, as in TCP. So a slow link has no
long queue, in which an alarm would wait behind numbers, and a hub that is away for a day costs a
small question now and then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

WINDOW = 8
"""Batches under way, all streams together."""
MIN_BYTES, FIRST_BYTES, MAX_BYTES = 4 * 1024, 16 * 1024, 768 * 1024
"""Under way, all streams together: at least, at first, at most."""
QUICK_S, SLOW_S = 2.0, 8.0
"""A round trip below the one lets more be under way, above the other less."""
FIRST_TIMEOUT_S, MIN_TIMEOUT_S, MAX_TIMEOUT_S = 10.0, 3.0, 600.0
"""The hub answers a device's birth, and all of them when it comes back: then it is not waited."""
SMOOTHING = 0.2


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch under way."""

    first: int
    last: int
    at_s: float
    size_bytes: int = 0


@dataclass(slots=True)
class Stream:
    """``acked``: the hub's number. ``under_way``: in order, and without a hole."""

    acked: int = 0
    under_way: deque[Sent] = field(default_factory=deque)
    rewound_at_s: float = float("-inf")

    @property
    def after(self) -> int:
        """The next batch begins behind this number."""
        return self.under_way[-1].last if self.under_way else self.acked


@dataclass(slots=True)
class Window:
    """Of one outbox life. All times are monotonic seconds."""

    streams: dict[int, Stream] = field(default_factory=dict)
    timeout_s: float = FIRST_TIMEOUT_S
    round_trip_s: float | None = None
    limit_bytes: int = FIRST_BYTES
    resent: int = 0

    def wanted(self, streams: Iterable[int]) -> list[tuple[int, int]]:
        """(stream, after) in the order to try; nothing when the window is full."""
        batches = sum(len(each.under_way) for each in self.streams.values())
        if batches >= WINDOW or self.room_bytes <= 0:
            return []
        return [(stream, self._stream(stream).after) for stream in sorted(streams)]

    @property
    def room_bytes(self) -> int:
        """How much more may be under way."""
        return self.limit_bytes - sum(
            sent.size_bytes for each in self.streams.values() for sent in each.under_way
        )

    def sent(self, stream: int, first: int, last: int, now_s: float, size_bytes: int = 0) -> None:
        """A batch was handed to the link."""
        self._stream(stream).under_way.append(Sent(first, last, now_s, size_bytes))

    def acknowledged(self, stream: int, seq: int, now_s: float) -> bool:
        """The hub has everything up to ``seq``. Whether something must be sent again."""
        found = self._stream(stream)
        is_news = seq > found.acked
        done, size_bytes = None, 0
        while found.under_way and found.under_way[0].last <= seq:
            done = found.under_way.popleft()
            size_bytes += done.size_bytes
        if done is not None:
            self._measure(now_s - done.at_s, size_bytes)
        elif self.timeout_s > FIRST_TIMEOUT_S:
            self._set_timeout()  # the hub is back
        found.acked = max(found.acked, seq)
        # The hub answered a batch that it could not use: the one before it is lost.
        if is_news or not found.under_way:
            return False
        # Sooner than a round trip it can be no answer to what is under way now.
        if now_s - found.under_way[0].at_s < 0.8 * (self.round_trip_s or 0.0):
            return False
        return self._rewind(found, now_s)

    def expire(self, now_s: float) -> bool:
        """Whether something was under way for too long; then it is sent again."""
        late = [
            each
            for each in self.streams.values()
            if each.under_way and now_s - each.under_way[0].at_s > self.timeout_s
        ]
        for each in late:
            self.resent += len(each.under_way)
            each.under_way.clear()
        if late:
            self.timeout_s = min(self.timeout_s * 2, MAX_TIMEOUT_S)
            self.limit_bytes = MIN_BYTES
        return bool(late)

    def reconnected(self) -> None:
        """Nothing that was under way counts."""
        if self.is_under_way():
            self.limit_bytes = max(MIN_BYTES, self.limit_bytes // 2)
        for each in self.streams.values():
            self.resent += len(each.under_way)
            each.under_way.clear()

    def is_under_way(self) -> bool:
        """Whether an acknowledgement is awaited."""
        return any(each.under_way for each in self.streams.values())

    def next_timeout_s(self, now_s: float) -> float | None:
        """How long until ``expire`` has something; None: nothing is under way."""
        oldest = [each.under_way[0].at_s for each in self.streams.values() if each.under_way]
        return max(0.0, min(oldest) + self.timeout_s - now_s) if oldest else None

    def _stream(self, number: int) -> Stream:
        return self.streams.setdefault(number, Stream())

    def _rewind(self, stream: Stream, now_s: float) -> bool:
        """Once for each round trip: the answers to all that is under way say the same."""
        pause_s = max(0.5, 2 * (self.round_trip_s or 0.5))
        if now_s - stream.rewound_at_s < pause_s:
            return False
        stream.rewound_at_s = now_s
        self.resent += len(stream.under_way)
        stream.under_way.clear()
        return True

    def _measure(self, took_s: float, size_bytes: int) -> None:
        old = self.round_trip_s
        self.round_trip_s = took_s if old is None else old + SMOOTHING * (took_s - old)
        self._set_timeout()
        if took_s < QUICK_S:
            self.limit_bytes = min(MAX_BYTES, self.limit_bytes + size_bytes)
        elif took_s > SLOW_S:
            self.limit_bytes = max(MIN_BYTES, self.limit_bytes // 2)

    def _set_timeout(self) -> None:
        if self.round_trip_s is None:
            self.timeout_s = FIRST_TIMEOUT_S
        else:
            self.timeout_s = min(MAX_TIMEOUT_S, max(MIN_TIMEOUT_S, 4 * self.round_trip_s))
