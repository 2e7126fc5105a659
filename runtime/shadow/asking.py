"""Puts a copy to a shadow, over HAProxy's socket for copies.

asking = Asking("web.copies.sock")
answer = await asking.ask("r3", exchange, timeout_s=70)     # raises NoAnswerError
asking.close()
"""

from __future__ import annotations

import asyncio
import time

import httptools

from runtime.balance.mirror import HEADER, NO_SHADOW
from runtime.errors import InferryError
from runtime.shadow.records import Answer, Exchange, Headers

MOST_ANSWER_BYTES = 8 << 20
MOST_ANSWERS_BYTES = 64 << 20
"""Of all that come in at a time."""
MOST_IDLE = 32
HOPS = frozenset(
    {
        b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"te", b"trailer",
        b"upgrade", b"expect", b"proxy-connection", b"proxy-authorization", HEADER.encode(),
    }
)  # fmt: skip
"""Of one connection, or made anew."""


class NoAnswerError(InferryError):
    """The shadow did not answer. ``is_absent``: there is none that could."""

    def __init__(self, why: str, *, is_absent: bool = False) -> None:
        super().__init__(why)
        self.is_absent = is_absent


class Asking:
    """Keeps connections for the next copies. ``path``: of the socket."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._idle: list[_Link] = []
        self._is_closed = False
        self._bytes = 0

    async def ask(self, shadow: str, exchange: Exchange, timeout_s: float) -> Answer:
        """Raises NoAnswerError."""
        request = written(shadow, exchange)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._asked(request)
        except TimeoutError:
            raise NoAnswerError(f"no answer within {timeout_s:g} s") from None
        except OSError as error:
            raise NoAnswerError(f"it cannot be reached: {error.strerror or error}") from None

    def close(self) -> None:
        """Connections without a request."""
        self._is_closed = True
        for link in self._idle:
            link.close()
        self._idle.clear()

    def grows(self, size: int) -> bool:
        """Whether so much more of an answer may be kept."""
        if self._bytes + size > MOST_ANSWERS_BYTES:
            return False
        self._bytes += size
        return True

    async def _asked(self, request: bytes) -> Answer:
        while True:
            was_idle = bool(self._idle)
            link = self._idle.pop() if was_idle else await self._opened()
            try:
                answer = await link.ask(request)
            except _StaleError:
                link.close()
                if was_idle:
                    continue  # it was closed before it got this request
                raise NoAnswerError("the connection broke before an answer") from None
            except BaseException:
                link.close()
                raise
            finally:
                self._bytes -= link.forget()
            if link.can_go_on and not self._is_closed and len(self._idle) < MOST_IDLE:
                self._idle.append(link)
            else:
                link.close()
            if answer.header(NO_SHADOW.encode()) is not None:
                raise NoAnswerError("it has no replica", is_absent=True)
            return answer

    async def _opened(self) -> _Link:
        reader, writer = await asyncio.open_unix_connection(self._path)
        return _Link(reader, writer, self)


def written(shadow: str, exchange: Exchange) -> bytes:
    """The copy: as the client sent it, but in one piece, and for this shadow."""
    kept = [(name, value) for name, value in exchange.headers if name.lower() not in HOPS]
    own = [
        (HEADER.encode(), shadow.encode("latin-1", "replace")),
        (b"content-length", str(len(exchange.body)).encode()),
    ]
    lines = b"".join(b"%b: %b\r\n" % pair for pair in (*kept, *own))
    return b"POST %b HTTP/1.1\r\n%b\r\n%b" % (exchange.target, lines, exchange.body)


class _StaleError(Exception):
    """Closed before the first byte of an answer."""


class _Link:
    """One connection. Also what its parser calls."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asking: Asking
    ) -> None:
        self._reader, self._writer, self._asking = reader, writer, asking
        self.can_go_on = False
        self._status, self._size, self._is_done = 0, 0, False
        self._headers: Headers = []
        self._body: list[bytes] = []

    def close(self) -> None:
        self._writer.close()

    def forget(self) -> int:
        """How many bytes of an answer it had."""
        size, self._size = self._size, 0
        return size

    async def ask(self, request: bytes) -> Answer:
        self._begin()
        parser = httptools.HttpResponseParser(self)
        self._parser = parser
        began_s = time.monotonic()
        self._writer.write(request)
        is_first = True
        while not self._is_done:
            try:
                data = await self._reader.read(1 << 18)
            except ConnectionError:
                data = b""
            if not data:
                if is_first:
                    raise _StaleError
                raise NoAnswerError("the connection broke in its answer")
            is_first = False
            try:
                parser.feed_data(data)
            except httptools.HttpParserCallbackError:
                raise NoAnswerError("its answer is too large to be compared") from None
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                raise NoAnswerError("its answer is no HTTP") from None
        return Answer(self._status, self._headers, b"".join(self._body), time.monotonic() - began_s)

    def _begin(self) -> None:
        self._status, self._size, self._is_done = 0, 0, False
        self._headers, self._body = [], []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self.can_go_on = self._parser.should_keep_alive()

    def on_body(self, part: bytes) -> None:
        if self._size + len(part) > MOST_ANSWER_BYTES or not self._asking.grows(len(part)):
            raise ValueError("too large")
        self._size += len(part)
        self._body.append(part)

    def on_message_complete(self) -> None:
        if self._status < 200:
            self._headers.clear()
        else:
            self._is_done = True
