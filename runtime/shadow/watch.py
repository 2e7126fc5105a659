"""Sees the requests and answers in the bytes of one connection, which others pass on. No I/O.

    watch = Watch(room, offer, dropped, clock=time.monotonic)
    watch.request(data)          # what the client's side sent, already passed on
    watch.answer(data)           # what the primary's side sent, already passed on
    watch.end()                  # the connection is gone

``offer`` gets each exchange that is whole and says which shadows get a copy; it has to end it in
the room. A connection that the watch does not understand (an upgrade, two requests at once) is not
watched any further: nothing is copied from it, and it works on, as the bytes are not the watch's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httptools

from runtime.balance.mirror import HEADER
from runtime.shadow.records import Answer, Exchange, Headers
from runtime.shadow.room import Room

MOST_COPY_BYTES = 8 << 20
"""Of one request and its answer. A larger one is passed on, and not copied."""
OVERHEAD_BYTES = 512
"""Of a copy, beside what was sent."""
PER_HEADER_BYTES = 150
_SHADOWS = HEADER.encode()
NOT_COMPARED = frozenset({429, 502, 503, 504})
"""The primary, or who stands before it, had no answer."""

Offer = Callable[[Exchange, int], None]
"""An exchange, and its bytes in the room."""
DroppedBy = Callable[[Sequence[str], str], None]
"""Of which shadows, and why."""


@dataclass(slots=True)
class _Recording:
    """One request, as it comes."""

    shadows: tuple[str, ...] = ()
    target: bytes = b""
    headers: Headers = field(default_factory=list)
    body: list[bytes] = field(default_factory=list)
    status: int = 0
    answer_headers: Headers = field(default_factory=list)
    answer_body: list[bytes] = field(default_factory=list)
    size: int = 0
    sent_s: float | None = None
    is_kept: bool = False


class Watch:
    """Of one connection. ``numbers``: of exchanges, shared by all watches."""

    def __init__(
        self,
        room: Room,
        offer: Offer,
        dropped: DroppedBy,
        *,
        clock: Callable[[], float],
        numbers: itertools.count[int],
    ) -> None:
        self.is_blind = False
        """It looks no longer."""
        self._room, self._offer, self._dropped = room, offer, dropped
        self._clock, self._numbers = clock, numbers
        self._now: _Recording | None = None
        self._is_interim = False
        self._requests = httptools.HttpRequestParser(_Requests(self))
        self._answers = httptools.HttpResponseParser(_Answers(self))

    @property
    def is_busy(self) -> bool:
        """A request is under way, or it cannot be told."""
        return self.is_blind or self._now is not None

    def request(self, data: bytes) -> None:
        """Bytes towards the primary."""
        self._feed(self._requests, data)

    def answer(self, data: bytes) -> None:
        """Bytes from it."""
        self._feed(self._answers, data)

    def end(self) -> None:
        """What is not whole by now is not copied. Idempotent."""
        self.is_blind = True
        if self._now is not None:
            self._drop("broken")
            self._now = None

    def _feed(self, parser: httptools.HttpParser, data: bytes) -> None:
        if self.is_blind:
            return
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.end()

    # What the parsers find.

    def on_request(self) -> None:
        """One begins."""
        if self._now is not None:
            raise _Lost("a request before the answer to the one before")
        self._now = _Recording()

    def on_target(self, part: bytes) -> None:
        """In one or more parts."""
        if self._now is not None:
            self._now.target += part

    def on_request_header(self, name: bytes, value: bytes) -> None:
        """In order."""
        if self._now is None:
            return
        if name.lower() == _SHADOWS:
            shadows = value.decode("latin-1").split(",")
            self._now.shadows = tuple(one.strip() for one in shadows if one.strip())
        else:
            self._now.headers.append((name, value))

    def on_request_head(self, method: bytes) -> None:
        """From here on it is known whether it is copied."""
        now = self._now
        if now is None:
            return
        if method != b"POST":
            raise _Lost("no request of those that are copied")
        if not now.shadows:
            return
        if not self._room.begins():
            self._dropped(now.shadows, "full")
            return
        now.is_kept = True
        self._grow(now, OVERHEAD_BYTES + len(now.target) + _size(now.headers))

    def on_request_body(self, part: bytes) -> None:
        """In order."""
        now = self._now
        if now is not None and now.is_kept and self._grow(now, len(part)):
            now.body.append(part)

    def on_request_end(self) -> None:
        """All of it was passed on."""
        if self._now is not None:
            self._now.sent_s = self._clock()

    def on_status(self, status: int) -> None:
        """With all headers of the answer."""
        if status == 101 or self._now is None:
            raise _Lost("no answer to a request")
        self._is_interim = status < 200
        now = self._now
        if self._is_interim:
            now.answer_headers.clear()
            return
        now.status = status
        if now.is_kept:
            self._grow(now, _size(now.answer_headers))

    def on_answer_header(self, name: bytes, value: bytes) -> None:
        """In order."""
        if self._now is not None:
            self._now.answer_headers.append((name, value))

    def on_answer_body(self, part: bytes) -> None:
        """In order."""
        now = self._now
        if now is not None and now.is_kept and self._grow(now, len(part)):
            now.answer_body.append(part)

    def on_answer_end(self) -> None:
        """All of it was passed on."""
        now = self._now
        if self._is_interim or now is None:
            return
        if now.sent_s is None:
            raise _Lost("an answer before its request's end")
        if now.is_kept and now.status in NOT_COMPARED:
            self._drop("primary")
        elif now.is_kept:
            now.is_kept = False  # the room goes on with whom it is offered to
            self._offer(_exchange(now, next(self._numbers), self._clock()), now.size)
        self._now = None

    def _grow(self, now: _Recording, size: int) -> bool:
        if now.size + size > MOST_COPY_BYTES:
            self._drop("large")
        elif self._room.grows(size):
            now.size += size
        else:
            self._drop("full")
        return now.is_kept

    def _drop(self, reason: str) -> None:
        now = self._now
        if now is not None and now.is_kept:
            self._dropped(now.shadows, reason)
            self._room.ends(now.size)
            now.is_kept = False
            now.body.clear()
            now.answer_body.clear()


class _Lost(Exception):
    """What comes is not understood; the parser turns it into an error of its own."""


class _Requests:
    """What httptools calls; without a cycle of callbacks in Watch's own names."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.on_message_begin = watch.on_request
        self.on_url = watch.on_target
        self.on_header = watch.on_request_header
        self.on_body = watch.on_request_body
        self.on_message_complete = watch.on_request_end

    def on_headers_complete(self) -> None:
        """The parser knows the method by now."""
        self._watch.on_request_head(self._watch._requests.get_method())


class _Answers:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.on_header = watch.on_answer_header
        self.on_body = watch.on_answer_body
        self.on_message_complete = watch.on_answer_end

    def on_headers_complete(self) -> None:
        """The parser knows the status by now."""
        self._watch.on_status(self._watch._answers.get_status_code())


def _exchange(now: _Recording, number: int, clock_s: float) -> Exchange:
    assert now.sent_s is not None
    answer = Answer(
        now.status,
        now.answer_headers,
        b"".join(now.answer_body),
        max(0.0, clock_s - now.sent_s),
    )
    return Exchange(number, now.shadows, now.target, now.headers, b"".join(now.body), answer)


def _size(headers: Headers) -> int:
    return sum(len(name) + len(value) + PER_HEADER_BYTES for name, value in headers)
