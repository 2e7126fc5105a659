"""uvicorn's HTTP protocol with files sent by the kernel, and with bounds on heads.

A route finds ``scope["extensions"]["inferry.body"]``: a Body that sends a part of a file with
sendfile(2), which never enters this process, and that knows when the client has gone.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import IO, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from runtime.registry_service.sending import Sending

EXTENSION = "inferry.body"
HEAD_S = 20.0
MAX_HEAD_BYTES = 64 * 1024


class Body:
    """How a response's body may be sent past ASGI."""

    def __init__(self, protocol: RegistryProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle

    @property
    def can_send_file(self) -> bool:
        """Not over TLS: the kernel does not encrypt here."""
        return self._cycle.scope["scheme"] == "http"

    @property
    def is_gone(self) -> bool:
        """Whether the client went away."""
        return self._cycle.disconnected or self._protocol.transport.is_closing()

    def abort(self) -> None:
        """Cut the connection: the rest of the body cannot be sent."""
        self._cycle.disconnected = True
        self._protocol.transport.abort()

    async def send_file(self, file: IO[bytes], offset: int, count: int) -> None:
        """Send that part of the file as the body, whose head is sent already."""
        transport = self._protocol.transport
        is_sent = count == 0
        if not is_sent and not self.is_gone:
            await self._protocol.flow.drain()  # the head is on its way, before the file
            while transport.get_write_buffer_size() and not self.is_gone:
                await asyncio.sleep(0.01)
            if not self.is_gone:
                sending = Sending(transport.get_extra_info("socket").fileno(), file, offset, count)
                self._protocol.sending = sending
                is_sent = await sending.done()
                self._protocol.sending = None
        if is_sent:
            self._cycle.expected_content_length = 0
        else:
            self.abort()


class RegistryProtocol(HttpToolsProtocol):
    """One connection."""

    sending: Sending | None = None
    """What is sent past the transport just now."""
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _is_head_too_large = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A head must come soon."""
        super().connection_made(transport)
        if (peer := transport.get_extra_info("socket")) is not None:
            # asyncio does so only for sockets that were made with their protocol's number; without,
            # a short body waits 40 ms for the acknowledgement of its head.
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more is expected, nothing more is sent."""
        self._head_came()
        if self.sending is not None:
            self.sending.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A head that has begun must end soon, too."""
        super().data_received(data)
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self._head_timer is None and self.timeout_keep_alive_task is None:
            self._expect_head()

    def on_message_begin(self) -> None:
        """A new head."""
        super().on_message_begin()
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Counted."""
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Counted."""
        self._count(name)
        self._count(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The request's own Body goes along; its task has not begun to run yet."""
        self._head_came()
        super().on_headers_complete()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["extensions"] = {EXTENSION: Body(self, self.cycle)}

    def send_400_response(self, msg: str) -> None:
        """In the words of the registry."""
        status = b"431 Request Header Fields Too Large" if self._is_head_too_large else b"400 Bad"
        if self._is_head_too_large:
            msg = f"a request's head may have {MAX_HEAD_BYTES} bytes at most"
        body = json.dumps({"errors": [{"code": "NAME_INVALID", "message": msg}]}).encode()
        head = (
            b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head % (status, len(body)) + body)
        self.transport.close()

    def _count(self, part: bytes) -> None:
        self._head_bytes += len(part)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._is_head_too_large = True
            raise ValueError("the head is too large")

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
