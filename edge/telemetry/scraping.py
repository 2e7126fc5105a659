"""GET /metrics of the modules that run here, into the outbox. A module that is slow or answers
nonsense costs this thread a bounded time, and nobody else anything.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass

from edge.errors import OutboxError
from edge.outbox.record import NewRecord
from edge.telemetry.exposition import changes, parse

TIMEOUT_S = 5.0
MAX_BYTES = 1024 * 1024
PRIORITY = 2
TTL_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where a module answers."""

    module: str
    address: str
    port: int


Append = Callable[[list[NewRecord]], object]
"""Takes records, and waits for nothing. Raises OutboxError."""


class Scraper:
    """``targets``: asked each time. ``every_s`` too: it may change."""

    def __init__(
        self,
        targets: Callable[[], Iterable[Target]],
        append: Append,
        every_s: Callable[[], float],
        host: Callable[[], dict[str, float]],
    ) -> None:
        self._targets = targets
        self._append = append
        self._every_s = every_s
        self._host = host
        self._before: dict[str, dict[str, float]] = {}

    def work(self, stopping: threading.Event) -> None:
        """Until the end."""
        while not stopping.wait(max(1.0, self._every_s())):
            self.step()

    def step(self) -> None:
        """Look at everything once."""
        records = [metrics_record("host", self._host())]
        targets = list(self._targets())
        for target in targets:
            text = fetch(target)
            if text is None:
                continue
            now, counters = parse(text)
            found = changes(now, counters, self._before.get(target.module))
            self._before[target.module] = now
            if found:
                records.append(metrics_record(target.module, found))
        known = {target.module for target in targets}
        self._before = {k: v for k, v in self._before.items() if k in known}
        for record in records:  # each for itself: one that is too large must not cost the others
            with contextlib.suppress(OutboxError):  # the next look says more than this one
                self._append([record])


def metrics_record(source: str, values: dict[str, float]) -> NewRecord:
    """Of "host", "agent" or a module."""
    body = json.dumps(values, separators=(",", ":"), allow_nan=False).encode()
    return NewRecord(PRIORITY, source, "metrics", body, TTL_S)


def fetch(target: Target, timeout_s: float = TIMEOUT_S) -> str | None:
    """The text; None: there is none within the time. The time is for all of it, not for each
    byte."""
    address = "127.0.0.1" if target.address in ("0.0.0.0", "") else target.address
    try:
        sock = socket.create_connection((address, target.port), timeout_s)
    except (OSError, ValueError):
        return None
    # A socket's own timeout begins anew with each byte.
    is_late = threading.Event()
    timer = threading.Timer(timeout_s, _shut, (sock, is_late))
    timer.daemon = True
    timer.start()
    with closing(http.client.HTTPConnection(address, target.port)) as link:
        link.sock = sock
        try:
            text = _read(link)
            return None if is_late.is_set() else text
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            timer.cancel()


def _read(link: http.client.HTTPConnection) -> str | None:
    link.request("GET", "/metrics", headers={"Connection": "close"})
    with link.getresponse() as answer:
        if answer.status != 200:
            return None
        parts: list[bytes] = []
        size = 0
        while chunk := answer.read1(65_536):
            parts.append(chunk)
            size += len(chunk)
            if size > MAX_BYTES:
                return None
    text = b"".join(parts)
    return text[: text.rfind(b"\n") + 1].decode("utf-8", "replace")  # a number may be cut


def _shut(sock: socket.socket, is_late: threading.Event) -> None:
    is_late.set()
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
