"""A response whose body is a part of a file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import IO

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from runtime.registry_service.byte_range import Span
from runtime.registry_service.protocol import EXTENSION, Body
from runtime.registry_service.sending import STALL_S

CHUNK_BYTES = 256 * 1024


class FileResponse(Response):
    """Sends ``span`` of ``file`` and closes it; by sendfile where the server can."""

    def __init__(
        self, file: IO[bytes], span: Span, status_code: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(None, status_code, headers, "application/octet-stream")
        self.headers["Content-Length"] = str(span.count)
        self._file = file
        self._span = span

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As of an ASGI application."""
        start = {"type": "http.response.start", "status": self.status_code}
        with self._file:
            await send({**start, "headers": self.raw_headers})
            if scope["method"] != "HEAD":
                body: Body | None = scope.get("extensions", {}).get(EXTENSION)
                if body is not None and body.can_send_file:
                    await body.send_file(self._file, self._span.offset, self._span.count)
                else:
                    await self._send_chunks(send, body)
            await send({"type": "http.response.body", "body": b""})

    async def _send_chunks(self, send: Send, body: Body | None) -> None:
        handle, offset, rest = self._file.fileno(), self._span.offset, self._span.count
        while rest and not (body is not None and body.is_gone):
            chunk = await asyncio.to_thread(os.pread, handle, min(rest, CHUNK_BYTES), offset)
            try:
                async with asyncio.timeout(STALL_S):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            except TimeoutError:
                chunk = b""
            if not chunk and body is not None:
                body.abort()
            offset, rest = offset + len(chunk), rest - len(chunk)
