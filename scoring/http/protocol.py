"""One client connection: reads requests, hands each whole one to its route, writes the answers.

Requests to a scoring route never become an ASGI task: research/performance.md has what that saves.
All others run through Starlette with uvicorn's own request cycle. One request of a connection is
under way at a time; those pipelined behind it are read, bounded, and wait.

    bytes -> httptools -> Call -> route.begin(call) ... call.reply(answer) -> bytes
                               -> RequestResponseCycle -> Starlette

Bounds: a request's head in bytes (431) and seconds (408), its body in bytes (413) and seconds
(408), an idle connection and a client that does not read its answers in seconds. What is no HTTP is
a 400 and the end of the connection; what follows it is never read as a request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from scoring.http.answer import NO_BODY, Answer
from scoring.http.call import Call, by_name
from scoring.http.head_rules import fault, waits_for_100
from scoring.http.unsent import unsent_bytes
from scoring.http.wire import TargetError, declared_size, parse_target

if TYPE_CHECKING:
    from scoring.http.front import Front
    from scoring.http.known_heads import KnownHead

LINGER_S = 2.0
LINGER_BYTES = 256 * 1024 * 1024
"""How long, and for how much, a client may go on sending after an answer that ends the connection:
closing with unread bytes resets it, and the client may never see the answer."""
GONE_S = 0.05
"""A client that has closed its side may only have said all it has to say; one whose request then
stands in a queue for this long is taken to have left."""
SMALL = 64 * 1024
FRAMING = (b"content-length", b"transfer-encoding")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ScoringProtocol(HttpToolsProtocol):
    """A connection of ``front``; ``slot`` is its number with the supervisor."""

    def __init__(self, front: Front, loop: asyncio.AbstractEventLoop, slot: int = 0):
        super().__init__(front.uvicorn_config, front.server_state, {}, loop)
        self.front = front
        self.slot = slot
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.idle_since = front.now
        self.released = False
        self._partial: Call | None = None
        self._current: Call | None = None
        self._queue: deque[Call] = deque()
        self._is_over = False
        self._is_eof = False
        self._is_upgrade = False
        self._is_told = False
        self._is_advancing = False
        self._is_lingering = False
        self._head_since: float | None = front.now
        self._head_bytes = 0
        self._raw_head = b""  # of a request that a read began with
        self._framing_bytes = 0  # since the last piece of a body
        self._left_bytes = LINGER_BYTES
        self._since = front.now  # of lingering, or of a client that does not read
        self._taken_at = front.now  # when it had all of the last answer, while lingering
        self._stream: asyncio.Task[None] | None = None

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The first head is due from now on."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.front.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there to be answered."""
        super().connection_lost(exc)
        self._queue.clear()
        self._partial = None
        self._abandon()
        self.front.closed(self)

    def data_received(self, data: bytes) -> None:
        """Parse; requests that get complete are begun on the way."""
        front = self.front
        front.link.received(self.slot, len(data))
        if self._is_over:
            self._ignore(len(data))
            return
        self._raw_head = b""  # of this read alone: another's would name the wrong request
        if (
            self._partial is None
            and self._current is None
            and not self._queue
            and not self._head_bytes
            and not self.flow.write_paused
        ):
            end = data.find(b"\r\n\r\n") + 4
            head = data[:end] if end > 3 else b""
            known = front.known_heads.get(head)
            if known is not None and len(data) - end == known.length:
                self._begin_known(known, data[end:])
                return
            self._raw_head = head
        if self._partial is None and self._head_since is None:
            self._head_since = front.now
        if self._head_since is not None:
            self._head_bytes += len(data)
        else:
            self._framing_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(400, "the request is not valid HTTP")
            return
        if self._head_since is not None and self._head_bytes > front.head_bytes:
            self._refuse(431, "the request's head is too large")
        elif self._partial is None:
            self._framing_bytes = 0
        elif self._framing_bytes > front.head_bytes:
            self._refuse(431, "what frames the request's body is too large")

    def _begin_known(self, known: KnownHead, body: bytes) -> None:
        """A whole request, whose head was parsed before."""
        self._head_since = None
        call = Call(self.front.clock())
        call.__dict__.update(known.fields)
        call.body = body
        call.size = len(body)
        call.connection = self
        call.client, call.server = self.client, self.server
        self._begin(call)

    def _parse(self, data: bytes) -> None:
        """Feed the parser. It stops behind the head of a request that asks for another protocol,
        body or not: that is read and answered as the ordinary request that it is, by a parser that
        was told how the body is framed."""
        while data and not self._is_over:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._ignore_upgrade()

    def _ignore_upgrade(self) -> None:
        call = self._partial
        self._is_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        if call is None:
            return
        framing = [
            b"%b: %b\r\n" % (name, call.named[name]) for name in FRAMING if name in call.named
        ]
        self._is_told = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n")
        self._is_told = False

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more. An answer that is due still goes out, but what only waits in
        the queue is dropped: a client that has gone looks just the same. A request that it stopped
        in is none."""
        self._is_eof = True
        if self._is_lingering:
            return False
        self._partial = self._head_since = None
        if self._current is None and not self._queue:
            return False
        self.loop.call_later(GONE_S, self._drop_if_waiting, self._current)
        return True

    def pause_writing(self) -> None:
        """The client does not read as fast as we write."""
        super().pause_writing()
        self._since = self.front.now

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._advance()

    # What the parser finds

    def on_message_begin(self) -> None:
        """A request starts, unless what came before it has ended the connection."""
        if self._is_over or self._is_told:
            return
        self._head_since = self.front.now
        self._partial = Call(self.front.clock())

    def on_url(self, url: bytes) -> None:
        """A piece of its target."""
        if self._partial is not None and not self._is_told:
            self._partial.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        call = self._partial
        if call is not None and not call.method:  # else it is a trailer, which nobody wants
            call.headers.append((name.lower(), value.rstrip()))

    def on_headers_complete(self) -> None:
        """The head is through: find the route, refuse what must not be read."""
        call = self._partial
        if call is None or self._is_told:
            return
        self._head_since, self._head_bytes = None, 0
        raw_head, self._raw_head = self._raw_head, b""
        if len(raw_head) > self.front.head_bytes:
            self._refuse(431, "the request's head is too large")
            return
        parser = self.parser
        call.method = parser.get_method().decode("ascii")
        call.http_version = parser.get_http_version()
        named = call.named = by_name(call.headers)
        call.closes = call.http_version != "1.1" or not parser.should_keep_alive()
        if parser.should_upgrade() and call.method != "CONNECT":
            self._is_upgrade = True
            call.closes = b"close" in named.get(b"connection", b"").lower()
        found = fault(call.http_version, call.headers, named)
        if found is not None:
            self._refuse(*found)
            return
        length = named.get(b"content-length", b"")
        front = self.front
        if len(length) >= front.body_digits and declared_size(length) > front.limits.body_bytes:
            self._refuse(413, self.front.too_large)
            return
        try:
            self.front.route(call)
        except TargetError as error:
            self._refuse(400, str(error))
            return
        if b"expect" in named and waits_for_100(call.http_version, named):
            refusal = self.front.refuse_unread(call)
            if refusal is not None:
                self._end_with(refusal)
                return
            call.expects = True
            self._continue()
        elif raw_head:
            self.front.known_heads.learn(raw_head, call)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        call = self._partial
        if call is None:
            return
        call.expects = False
        self._framing_bytes = 0
        call.size += len(body)
        if call.size > self.front.limits.body_bytes:
            self._refuse(413, self.front.too_large)
            return
        call.chunks.append(body)

    def on_chunk_header(self) -> None:
        """A chunk follows."""
        self._framing_bytes = 0

    def on_message_complete(self) -> None:
        """A request is whole."""
        call = self._partial
        if call is None or self._is_upgrade:
            return
        self._partial = None
        chunks = call.chunks
        if chunks:
            call.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            call.chunks = []
        call.connection = self
        call.client, call.server = self.client, self.server
        if call.closes:
            self._is_over = True
        if self._current is None and not self._queue and not self.flow.write_paused:
            self._begin(call)
        else:
            self._queue.append(call)
            self.flow.pause_reading()

    # Turns

    def _begin(self, call: Call) -> None:
        self._current = call
        if call.refusal is not None:
            call.reply(call.refusal)
        elif call.route is None:
            self._run_asgi(call)
        else:
            self.front.begin(call)

    def _advance(self) -> None:
        """Begin the next request, unless this was called while one was being begun."""
        if self._is_advancing:
            return
        self._is_advancing = True
        while self._queue and self._current is None and not self.flow.write_paused:
            self._begin(self._queue.popleft())
        self._is_advancing = False
        if not self._queue and not self.flow.write_paused:
            self.flow.resume_reading()

    def answer(self, call: Call, answer: Answer) -> None:
        """Write the answer to the request whose turn it is."""
        if call is not self._current or self.transport.is_closing():
            return
        if not isinstance(answer.body, bytes):
            self._stream = self.loop.create_task(self._send_stream(call, answer))
            self.front.server_state.tasks.add(self._stream)
            self._stream.add_done_callback(self.front.server_state.tasks.discard)
            return
        closes = call.closes or answer.close or self.front.is_closing
        body = answer.body
        framing = _framing(answer.status, len(body), closes)
        head = self.front.head(call, answer, framing)
        if call.method == "HEAD" or answer.status in NO_BODY:
            body = b""
        size = len(head) + len(body)
        # Said before it is done: should this process be killed in between, the counts tell.
        if closes or self._queue or self._partial is not None or self._head_bytes:
            self.front.link.wrote(self.slot, size)
        else:
            self.front.link.answered(self.slot, size)
        if size <= SMALL:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))
        self._answered(closes, must_linger=answer.close)

    def _answered(self, closes: bool, *, must_linger: bool = False) -> None:
        """An answer is through: the connection's next request, or its end."""
        self._current = None
        self._stream = None
        if closes or (self._is_eof and not self._queue):
            self._is_over = True
            self._queue.clear()
            if must_linger:
                self._linger()
            else:
                self.transport.close()
        elif self._queue:
            self._advance()
        else:
            self.flow.resume_reading()
            if self._partial is not None or self._head_bytes:
                self._continue()
                return
            self.idle_since = self.front.now
            if self.front.is_releasing:
                self.front.release_soon()

    def _answered_slowly(self, closes: bool) -> None:
        """Likewise for what was written in pieces."""
        if not (closes or self._queue or self._partial is not None or self._head_bytes):
            self.front.link.answered(self.slot, 0)
        self._answered(closes)

    def _continue(self) -> None:
        """Tell a client that waits for it to send the body, once it is the next to be answered."""
        call = self._partial
        if call is not None and call.expects and self._current is None and not self._queue:
            call.expects = False
            self._write(CONTINUE)

    # Streams and ASGI

    async def _send_stream(self, call: Call, answer: Answer) -> None:
        has_body = call.method != "HEAD" and answer.status not in NO_BODY
        chunked = call.http_version == "1.1" and answer.status not in NO_BODY
        closes = call.closes or answer.close or self.front.is_closing
        closes = closes or call.http_version != "1.1"
        framing = b"transfer-encoding: chunked\r\n" if chunked else b""
        if closes:
            framing += b"connection: close\r\n"
        body: Any = answer.body
        try:
            self._write(self.front.head(call, answer, framing))
            async for chunk in body:
                if self.transport.is_closing():  # an endless stream would go on for nobody
                    break
                if chunk and has_body:
                    self._write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                await self.flow.drain()
            else:
                if not self.transport.is_closing():
                    if chunked and has_body:
                        self._write(b"0\r\n\r\n")
                    self._answered_slowly(closes)
        except Exception:  # the worker has logged why; the client must see that this is not all
            self.transport.abort()
        finally:
            with suppress(Exception):
                await body.aclose()

    def _run_asgi(self, call: Call) -> None:
        path = parse_target(call.target)
        scope: Any = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": call.http_version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": call.headers,
            "state": {},
            "method": call.method,
            "path": path.path,
            "raw_path": path.raw_path,
            "query_string": path.query,
        }
        self.cycle = RequestResponseCycle(
            scope=scope,
            transport=self,  # type: ignore[arg-type]
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.front.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=not (call.closes or self.front.is_closing),
            on_response=self._on_asgi_answer,
        )
        self.cycle.body = bytearray(call.body)
        self.cycle.more_body = False
        self.cycle.message_event.set()
        self._start_asgi_task(self.cycle, self.app)

    def _on_asgi_answer(self) -> None:
        if self.transport.is_closing():
            self._current = None
            return
        self._answered_slowly(closes=False)

    def write(self, data: bytes) -> None:
        """For uvicorn's cycle, to which we are the transport."""
        self._write(data)

    def close(self) -> None:
        """Likewise."""
        self.transport.close()

    def is_closing(self) -> bool:
        """Likewise."""
        return self.transport.is_closing()

    def _write(self, data: bytes) -> None:
        self.front.link.wrote(self.slot, len(data))
        self.transport.write(data)

    # The end

    def _refuse(self, status: int, message: str) -> None:
        """This is no request that can be answered: say so after the answers before it, and end."""
        if self._is_over and self._is_lingering:
            return
        self._end_with(self.front.refusal(status, message))

    def _end_with(self, refusal: Answer) -> None:
        """The last answer, when its turn comes; what is still sent is dropped."""
        before = self._partial
        self._is_over, self._partial, self._head_since = True, None, None
        call = Call(self.front.clock())
        if before is not None:
            call.method = before.method  # HEAD gets no body
        call.connection = self
        call.closes = True
        call.refusal = replace(refusal, close=True)
        if self._current is None and not self._queue:
            self._begin(call)
        else:
            self._queue.append(call)

    def _linger(self) -> None:
        self._is_lingering, self._since = True, self.front.now
        self._taken_at = self.front.now
        if self._is_eof:
            self.transport.close()
            return
        self.flow.resume_reading()
        with suppress(OSError, RuntimeError):
            self.transport.write_eof()

    def _ignore(self, size: int) -> None:
        self._left_bytes -= size
        if self._left_bytes < 0:
            self.transport.abort()

    def _abandon(self) -> None:
        call, self._current = self._current, None
        if call is not None and not call.answered:
            call.answered = True
            self.front.abandon(call)

    def _drop_if_waiting(self, before: Call | None) -> None:
        """GONE_S ago the client had said all that it has to say, and ``before`` was its turn."""
        call = self._current
        if self.transport.is_closing():
            return
        if call is not None and call is before and not call.answered and call.is_waiting:
            self.transport.abort()  # connection_lost drops it
        else:
            self.loop.call_later(GONE_S, self._drop_if_waiting, call)

    # For the front's sweep, draining and handing over

    @property
    def is_idle(self) -> bool:
        """Between two requests, with everything written."""
        return (
            self._current is None
            and self._partial is None
            and self._head_bytes == 0
            and not self._queue
            and not self._is_over
            and not self._is_eof
            and not self.transport.is_closing()
            and self.transport.get_write_buffer_size() == 0
        )

    def release(self) -> None:
        """Give an idle connection up without ending it: the supervisor has another hold of it."""
        self.released = True
        self.transport.close()

    def sweep(self, now: float) -> None:
        """End what takes too long."""
        if self.transport.is_closing():
            return
        limits = self.front.limits
        if self._is_lingering:
            if unsent_bytes(self.transport):  # it still reads the answer, as slowly as it may
                self._taken_at = now
                if now - self._since > limits.write_s:
                    self.transport.abort()
            elif now - self._taken_at > LINGER_S:
                self.transport.abort()
        elif self.flow.write_paused:
            if now - self._since > limits.write_s:
                self.transport.abort()
        elif self._current is not None or self._queue:
            if self._head_since is not None:  # a pipelined head: its time starts with its turn
                self._head_since = now
        elif self._partial is not None and self._head_since is None:
            allowed_s = limits.body_grace_s + self._partial.size / limits.body_bytes_per_s
            if now - self._partial.started > allowed_s:
                self._refuse(408, "the request body came too slowly")
        elif self._head_since is not None:
            if now - self._head_since > self.front.head_s:
                self._refuse(408, "the request's head came too slowly")
        elif now - self.idle_since > limits.idle_s:
            self.transport.close()


def _framing(status: int, size: int, closes: bool) -> bytes:
    """The lines that say where the body and the connection end."""
    if status in NO_BODY:
        return b"connection: close\r\n" if closes else b""
    if closes:
        return b"content-length: %d\r\nconnection: close\r\n" % size
    return b"content-length: %d\r\n" % size
