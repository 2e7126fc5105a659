"""A client that sends any bytes, and reads answers with h11: a second HTTP implementation.

with Peer.open(server.port) as peer:
    peer.send(b"GET / HTTP/1.1\\r\\nHost: test\\r\\n\\r\\n")
    assert peer.reply().status == 200
    peer.expect_silence()

Every byte that the server sends has to be part of an answer: what h11 does not accept, what is left
over, and silence where an answer is due are AssertionErrors, never a wait without end.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import h11

from tests.system.hostile_server import ROOT

Headers = tuple[tuple[bytes, bytes], ...]
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MEBIBYTE = 2**20
PATIENCE_S = 45.0
SHOWN = 300


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as h11 reads it."""

    status: int
    headers: Headers
    """Names in lower case."""
    body: bytes
    is_last: bool
    """It says (or its framing says) that the connection ends with it."""
    informational: tuple[int, ...] = ()
    """The 1xx answers before it."""

    def values(self, name: bytes) -> list[bytes]:
        """Of each header called ``name``."""
        return [value for key, value in self.headers if key == name]

    def value(self, name: bytes) -> bytes | None:
        """Of the only header called ``name``."""
        found = self.values(name)
        assert len(found) <= 1, self
        return found[0] if found else None

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def check_clean(body: bytes) -> None:
    """No internals in what a client sees."""
    text = body.decode("latin-1")
    assert "Traceback" not in text
    assert 'File "' not in text
    for folder in (str(ROOT), sys.prefix, "site-packages"):
        assert folder not in text


def check_error(reply: Reply, *statuses: int, is_head: bool = False) -> None:
    """A uniform refusal: one of ``statuses`` (any 4xx without), ``{"message": text}`` in JSON."""
    assert reply.status in (statuses or range(400, 500)), reply
    check_clean(reply.body)
    if is_head:
        return
    assert reply.value(b"content-type") == b"application/json", reply
    document = reply.json()
    assert list(document) == ["message"], reply
    assert 0 < len(document["message"]) < 500


class ReplyReader:
    """Reads one answer to a request with ``method``, piece by piece."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=MEBIBYTE)
        self._parser.send(h11.Request(method=method, target="/", headers=[("Host", "test")]))
        self._parser.send(h11.EndOfMessage())
        self._informational: list[int] = []
        self._final: h11.Response | None = None
        self._body = bytearray()
        self._shown = b""

    def feed(self, data: bytes) -> Reply | None:
        """The answer once it is whole; ``b""`` says that the server has closed.

        AssertionError where h11 refuses what it reads, or the end comes too early."""
        self._shown = self._shown or data[:SHOWN]
        try:
            self._parser.receive_data(data)
            return self._read(is_end=data == b"")
        except h11.RemoteProtocolError as error:
            raise AssertionError(f"{error}: {self._shown!r}") from error

    @property
    def rest(self) -> bytes:
        """What came after the answer."""
        return bytes(self._parser.trailing_data[0])

    def _read(self, *, is_end: bool) -> Reply | None:
        while True:
            event = self._parser.next_event()
            if event is h11.NEED_DATA and not is_end:
                return None
            if isinstance(event, h11.InformationalResponse):
                self._informational.append(event.status_code)
            elif isinstance(event, h11.Response):
                self._final = event
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return self._made()
            else:
                raise AssertionError(f"the connection ends in an answer: {self._shown!r}")

    def _made(self) -> Reply:
        assert self._final is not None
        headers = tuple((bytes(name), bytes(value)) for name, value in self._final.headers)
        is_last = self._parser.their_state is not h11.DONE
        reply = Reply(
            self._final.status_code,
            headers,
            bytes(self._body),
            is_last,
            tuple(self._informational),
        )
        _check_framing(reply, self._method)
        return reply


def _check_framing(reply: Reply, method: str) -> None:
    """What RFC 9112, section 6, forbids although h11 reads it."""
    lengths, codings = reply.values(b"content-length"), reply.values(b"transfer-encoding")
    assert len(lengths) + len(codings) <= 1, reply
    if reply.status in (204, 304) or method == "HEAD":
        assert reply.body == b""
    else:
        assert lengths or codings, f"only the end of the connection ends this answer: {reply}"


class Peer:
    """One connection, made of whatever the test sends."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._received = b""
        self._is_at_end = False
        self.was_reset = False
        self.was_told_to_continue = False  # and the connection ended

    @classmethod
    def open(cls, port: int, *, receive_buffer_bytes: int | None = None) -> Peer:
        """Connect to ``port`` here. A small receive buffer makes the server wait for the client."""
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(PATIENCE_S)
        connection.connect(("127.0.0.1", port))
        return cls(connection)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.close()

    def send(self, data: bytes) -> None:
        """All of it. A server that closes meanwhile is no error: its answer tells."""
        try:
            self.connection.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            self.was_reset = True

    def send_pieces(self, pieces: Iterable[bytes], pause_s: float = 0.0002) -> None:
        """One segment for each piece; the pause lets the server read most of them singly."""
        for piece in pieces:
            if self.was_reset:
                return
            self.send(piece)
            time.sleep(pause_s)

    def half_close(self) -> None:
        """Send no more; still read."""
        try:
            self.connection.shutdown(socket.SHUT_WR)
        except OSError:
            self.was_reset = True

    def reply(self, method: str = "GET") -> Reply:
        """The next answer, to a request with ``method``."""
        reader = ReplyReader(method)
        while True:
            if not self._received and not self._is_at_end:
                self._read()
            is_over = not self._received
            received, self._received = self._received, b""
            reply = reader.feed(received)
            if reply is not None:
                self._received = reader.rest
                return reply
            assert not is_over, "the server closed without an answer"

    def replies(self, methods: Iterable[str]) -> list[Reply]:
        """One for each method, in order."""
        return [self.reply(method) for method in methods]

    def replies_to_end(self, methods: Sequence[str] = ()) -> list[Reply]:
        """All answers until the server closes, to requests with ``methods`` (beyond them: a guess).

        More answers than requests are in the list, for the test to find. Beyond the first closing
        answer there must be nothing."""
        self._read_to_end()
        found: list[Reply] = []
        while self._received:
            if self._received == CONTINUE:  # for a body that did not come
                self._received, self.was_told_to_continue = b"", True
                break
            assert not (found and found[-1].is_last), f"after the end: {self._received[:SHOWN]!r}"
            method = methods[len(found)] if len(found) < len(methods) else "GET"
            found.append(self._last_reply(method))
        return found

    def _last_reply(self, method: str) -> Reply:
        """All there is has come. A refusal of what is no request may have a body or not, whatever
        method was meant."""
        received = self._received
        try:
            reply = self.reply(method)
            if not (reply.status >= 400 and self._received and reply.is_last):
                return reply
        except AssertionError:
            if method == "HEAD":
                raise
        self._received = received
        return self.reply("GET" if method == "HEAD" else "HEAD")

    def expect_end(self) -> None:
        """The server closes, and nothing comes before that."""
        self._read_to_end()
        assert self._received == b"", f"more than was asked for: {self._received[:SHOWN]!r}"

    def expect_silence(self, silence_s: float = 0.1) -> None:
        """Nothing comes for this long, and the connection stays open."""
        assert self._received == b""
        self.connection.settimeout(silence_s)
        try:
            chunk = self.connection.recv(65536)
        except TimeoutError:
            return
        finally:
            self.connection.settimeout(PATIENCE_S)
        raise AssertionError(f"not silence: {chunk[:SHOWN]!r}")

    def _read_to_end(self) -> None:
        pieces = [self._received]
        self._received = b""
        while not self._is_at_end:
            self._read()
            pieces.append(self._received)
            self._received = b""
        self._received = b"".join(pieces)

    def _read(self) -> None:
        try:
            chunk = self.connection.recv(MEBIBYTE)
        except TimeoutError as error:
            raise AssertionError(f"no answer in {PATIENCE_S} s") from error
        except ConnectionResetError:
            self.was_reset = True
            chunk = b""
        self._is_at_end = not chunk
        self._received += chunk
