"""A watch with what it found, and bytes of HTTP for it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from runtime.shadow.records import Answer, Exchange
from runtime.shadow.room import Room
from runtime.shadow.watch import Watch


@dataclass
class Seen:
    """``clock_s`` is what the watch's clock says."""

    room: Room = field(default_factory=lambda: Room(1 << 20, 10))
    exchanges: list[Exchange] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    drops: list[tuple[str, str]] = field(default_factory=list)
    clock_s: float = 100.0

    def watch(self) -> Watch:
        return Watch(
            self.room,
            self._offer,
            self._dropped,
            clock=lambda: self.clock_s,
            numbers=itertools.count(1),
        )

    def _offer(self, exchange: Exchange, size: int) -> None:
        self.exchanges.append(exchange)
        self.sizes.append(size)

    def _dropped(self, shadows: Sequence[str], reason: str) -> None:
        self.drops += [(shadow, reason) for shadow in shadows]


def request(
    body: bytes = b"[1]", *, shadows: str = "r2", method: str = "POST", more: str = ""
) -> bytes:
    copied = f"inferry-copy: {shadows}\r\n" if shadows else ""
    head = f"{method} /score?a=b HTTP/1.1\r\nHost: x\r\n{copied}{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def answer(body: bytes = b"[2]", *, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def exchange(body: bytes = b"[1]", answered: bytes = b"[2]", shadows: str = "r2") -> Exchange:
    """As a watch makes it."""
    return Exchange(
        1,
        tuple(shadows.split(",")),
        b"/score",
        [(b"Content-Type", b"application/json")],
        body,
        Answer(200, [(b"content-type", b"application/json")], answered, 0.01),
    )
