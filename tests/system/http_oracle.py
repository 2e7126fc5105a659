"""What h11's server side reads in a byte stream, and which answers are right for it.

heard = hear(stream)
check_answers(heard, peer.replies_to_end(heard.methods))

h11 is the second opinion on every request: the server answers what h11 reads, in that order, or
refuses earlier and closes. Where the two differ by design is said at ``hear`` and in ``STRICTER``
(test_http_conformance.py).
"""

from __future__ import annotations

import enum
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import h11

from tests.system.raw_http import Headers, Reply, check_clean, check_error

EMPTY_LINES = b"\r\n"
SPACES = re.compile(rb"\A([!-~]+) +(?:([!-~]+) +(?=HTTP/))?")
VERSIONS = (b"1.0", b"1.1")
READS = ("/", "/healthz", "/readyz", "/metrics", "/swagger.json")


class End(enum.Enum):
    """How a stream ends for h11."""

    IDLE = "between two requests"
    CUT = "in a request"
    CLOSED = "with a request that says so"
    REFUSED = "with what is no request"


class BodyError(h11.RemoteProtocolError):
    """The body of a request with ``Expect`` is none."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as h11 reads it."""

    method: str
    target: bytes
    headers: Headers
    body: bytes
    version: bytes
    keeps_alive: bool

    def value(self, name: bytes) -> bytes | None:
        """Of the first header called ``name``."""
        return next(iter(self.values(name)), None)

    def values(self, name: bytes) -> list[bytes]:
        """Of all headers called ``name``."""
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, slots=True)
class Heard:
    """All requests of a stream, and its end. ``is_asking``: what ends it is the body of a request
    with ``Expect``, which may be answered without its body, and the connection ended."""

    requests: tuple[Asked, ...]
    end: End
    reason: str = ""
    is_asking: bool = False

    @property
    def methods(self) -> list[str]:
        """In order."""
        return [asked.method for asked in self.requests]


def hear(stream: bytes) -> Heard:
    """What h11 makes of ``stream``, except that empty lines before a request are skipped, as
    RFC 9112, section 2.2, asks of a server; that several spaces after the method or the
    target are one (section 3); and that versions other than 1.0 and 1.1 are refused."""
    found: list[Asked] = []
    rest = stream.lstrip(EMPTY_LINES)
    while rest:
        try:
            taken = _take_request(SPACES.sub(_one_space, rest, count=1))
        except h11.RemoteProtocolError as error:
            is_asking = isinstance(error, BodyError)
            return Heard(tuple(found), End.REFUSED, str(error), is_asking)
        if taken is None:
            return Heard(tuple(found), End.CUT)
        asked, rest = taken[0], taken[1].lstrip(EMPTY_LINES)
        if asked.version not in VERSIONS:
            return Heard(tuple(found), End.REFUSED, f"HTTP version {asked.version!r}")
        found.append(asked)
        if not asked.keeps_alive:
            return Heard(tuple(found), End.CLOSED)
    return Heard(tuple(found), End.IDLE)


def _one_space(found: re.Match[bytes]) -> bytes:
    return b"%b " % found[1] + (b"" if found[2] is None else b"%b " % found[2])


def _take_request(stream: bytes) -> tuple[Asked, bytes] | None:
    """The first request and the bytes after it; None when it is not complete."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
    parser.receive_data(stream)
    request: h11.Request | None = None
    body = bytearray()
    while True:
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError as error:
            if request is not None and b"expect" in dict(request.headers):
                raise BodyError(str(error)) from error
            raise
        if event is h11.NEED_DATA or event is h11.PAUSED:
            return None
        if isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            break
    assert request is not None
    headers = tuple((bytes(name), bytes(value)) for name, value in request.headers)
    keeps_alive = parser.their_state is not h11.MUST_CLOSE
    asked = Asked(
        request.method.decode(), request.target, headers, bytes(body), request.http_version,
        keeps_alive,
    )  # fmt: skip
    return asked, bytes(parser.trailing_data[0])


def check_answers(heard: Heard, replies: Sequence[Reply], *, may_refuse: bool = False) -> None:
    """``replies`` are the right answers to the requests, in order; then a closing refusal of what
    is none. ``may_refuse``: such a refusal may come earlier (the server may be stricter)."""
    for place, reply in enumerate(replies):
        if place < len(heard.requests):
            if may_refuse and is_refusal(reply):
                check_error(reply, is_head=reply.body == b"")
                assert place == len(replies) - 1
                return
            check_answer(heard.requests[place], reply)
            if reply.is_last and heard.requests[place].keeps_alive:  # its body was not asked for
                assert place == len(replies) - 1
                return
        else:
            assert heard.end in (End.REFUSED, End.CUT), f"one answer too many: {reply}"
            assert place == len(heard.requests) == len(replies) - 1
            if heard.end is End.REFUSED and not (heard.is_asking and reply.is_last):
                assert is_refusal(reply), f"{heard.reason}: {reply}"
            # a request that is not complete may be answered already, if its body does not matter
            assert reply.status < 500 or is_refusal(reply), reply
            check_clean(reply.body)
    assert len(replies) >= len(heard.requests), f"{len(heard.requests) - len(replies)} not answered"
    if heard.end is End.REFUSED:
        assert len(replies) > len(heard.requests), f"not refused: {heard.reason}"


def is_refusal(reply: Reply) -> bool:
    """An answer that says: this is no HTTP that is served here, or its body need not be sent; and
    the connection ends."""
    refusals = (400, 404, 405, 408, 411, 413, 414, 415, 417, 431, 501, 505)
    return reply.is_last and reply.status in refusals


def check_answer(asked: Asked, reply: Reply) -> None:
    """The right status, result and keep-alive decision for a complete request."""
    path = asked.target.partition(b"?")[0].decode("ascii", "replace")
    check_clean(reply.body)
    if path == "/score" and asked.method == "POST":
        _check_score(asked, reply)
    elif path == "/score":
        _check_status(asked, reply, 200 if asked.method == "OPTIONS" else 405)
    elif path in READS and asked.method in ("GET", "HEAD"):
        _check_status(asked, reply, 200, 404)  # 404: /swagger.json?version=9
    elif path in READS and asked.method != "OPTIONS":
        _check_status(asked, reply, 405)
    else:
        _check_status(asked, reply, 200, 400, 404, 405)
    may_end = asked.value(b"expect") is not None and (reply.status >= 400 or path != "/score")
    assert may_end or reply.is_last is not asked.keeps_alive, (asked, reply)


def _check_status(asked: Asked, reply: Reply, *statuses: int) -> None:
    assert reply.status in statuses, (asked, reply)
    if reply.status >= 400:
        check_error(reply, is_head=asked.method == "HEAD")


def _check_score(asked: Asked, reply: Reply) -> None:
    expected = doubled(asked.body)
    if expected is None or reply.status in (415, 431):
        check_error(reply, 400, 415, 431)
        return
    assert reply.status == 200, (asked, reply)
    rows = reply.json()["y"]
    assert len(rows) == len(expected)
    for row, right in zip(rows, expected, strict=True):
        assert len(row) == len(right)
        assert all(
            math.isclose(*pair, rel_tol=1e-6, abs_tol=1e-30)
            for pair in zip(row, right, strict=True)
        )
    ids = asked.values(b"x-request-id")
    if ids:  # of several, nothing says which one counts
        assert reply.value(b"x-request-id") in (*ids, b",".join(ids), b", ".join(ids)), (
            "the answer to another request"
        )


def doubled(body: bytes) -> list[list[float]] | None:
    """The right answer of ``y = 2 x`` for plain ``{"data": [[4 numbers], ...]}``; else None: the
    body is to be refused."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or list(document) not in (["data"], ["x"]):
        return None
    rows = next(iter(document.values()))
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
        return None
    return [[2.0 * value for value in row] for row in rows]


def _is_row(row: object) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 4
        and all(type(value) in (int, float) and abs(value) < 1e38 for value in row)
    )
