"""The /metrics pages of replicas, fetched side by side, each with a deadline."""

from __future__ import annotations

import concurrent.futures
import http.client
import socket
import time
from collections.abc import Mapping
from typing import cast

from edge.keeping.http_probe import Timed

PAGE_S = 0.5
"""For a page; who takes longer says nothing this time, which is not zero."""
MAX_PAGE_BYTES = 4 * 1024 * 1024
MOST_AT_ONCE = 8
EVERY_S = 1.0
"""How often replicas are asked."""


class Pages:
    """Those of one deployment's replicas, asked for at most each ``EVERY_S``."""

    def __init__(self) -> None:
        self._asked_s: float | None = None

    def asked(
        self, places: Mapping[str, tuple[str, int]], now_s: float
    ) -> dict[str, bytes | None] | None:
        """New ones, by id; None where it is too early. ``now_s``: monotonic."""
        if self._asked_s is not None and 0 <= now_s - self._asked_s < EVERY_S:
            return None
        self._asked_s = now_s
        return fetched_all(places)


def fetched_all(places: Mapping[str, tuple[str, int]]) -> dict[str, bytes | None]:
    """``places``: address and port by id."""
    if not places:
        return {}
    with concurrent.futures.ThreadPoolExecutor(min(MOST_AT_ONCE, len(places))) as pool:
        pages = pool.map(lambda place: fetched(*place), places.values())
        return dict(zip(places, pages, strict=True))


def fetched(address: str, port: int, timeout_s: float = PAGE_S) -> bytes | None:
    """GET /metrics; None where no whole page comes in time."""
    deadline = time.monotonic() + timeout_s
    host = f"[{address}]" if ":" in address else address
    request = f"GET /metrics HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((address, port), timeout_s) as link:
            link.sendall(request.encode())
            answer = http.client.HTTPResponse(cast("socket.socket", Timed(link, deadline)))
            try:
                answer.begin()
                page = answer.read(MAX_PAGE_BYTES + 1)
                is_whole = answer.status == 200 and not answer.length
            finally:
                answer.close()
    except (OSError, http.client.HTTPException, ValueError, OverflowError):
        return None
    return page if is_whole and len(page) <= MAX_PAGE_BYTES else None
