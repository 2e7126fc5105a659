"""uvicorn's HTTP protocol with bounds on the head of a request: its bytes and its seconds.

httptools collects a head without limit, so one endless header would hold the event loop and memory
of the whole server; and uvicorn waits for a head that never ends.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
HEAD_S = 30.0


class BoundedProtocol(HttpToolsProtocol):
    """Answers 431 to a head over HEAD_BYTES (plus what one read brings) and 408 to one that takes
    over HEAD_S; both end the connection."""

    head_bytes_limit = HEAD_BYTES
    head_s = HEAD_S
    _head_bytes = 0
    _is_in_head = True
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """The first head is due from now on."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head that is not complete yet."""
        if self._is_in_head and self._head_timer is None:
            self._expect_head()
        self._head_bytes += len(data)
        super().data_received(data)  # sets the count to 0 where a head or a message ends
        if self.transport.is_closing() or not self._is_in_head:
            return
        if self._head_bytes > self.head_bytes_limit:
            self._refuse(b"431 Request Header Fields Too Large", b"the request's head is too large")

    def on_headers_complete(self) -> None:
        """The head is through."""
        self._is_in_head, self._head_bytes = False, 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What comes next is a head again."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_s, self._on_late_head)

    def _on_late_head(self) -> None:
        self._head_timer = None
        if self.transport.is_closing() or not self._is_in_head:
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect_head()  # a pipelined head: the answer before it must not be cut
            return
        self._refuse(b"408 Request Timeout", b"the request's head came too slowly")

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: bytes, message: bytes) -> None:
        self._stop_timer()
        body = b'{"message": "' + message + b'"}'
        self.transport.write(
            b"HTTP/1.1 " + status + b"\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body
        )
        self.transport.close()
