"""One HTTP answer: made by a route, written by the protocol (or sent through ASGI)."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from starlette.types import Send

JSON = "application/json"
NO_BODY = frozenset({204, 304})

Headers = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Answer:
    """Status, headers (without Content-Length) and body. ``close``: end the connection then.

    Not to be changed once it is made; ``frozen`` would triple the cost of making it."""

    status: int
    headers: Headers = ()
    body: bytes | AsyncIterator[bytes] = b""
    close: bool = field(default=False)

    def with_headers(self, extra: Iterable[tuple[str, str]]) -> Answer:
        """The same with ``extra`` in place of headers of those names (any case)."""
        added = tuple(extra)
        names = {name.lower() for name, _ in added}
        kept = tuple(pair for pair in self.headers if pair[0].lower() not in names)
        return replace(self, headers=kept + added)

    def with_more(self, extra: Iterable[tuple[str, str]]) -> Answer:
        """The same with ``extra`` added, whatever is there."""
        return replace(self, headers=(*self.headers, *extra))


def json_answer(status: int, document: object, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """A JSON answer."""
    body = json.dumps(document).encode()
    return Answer(status, (("Content-Type", JSON), *headers), body)


def error_answer(status: int, message: str, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """An error in the one shape that all routes use: ``{"message": ...}``."""
    return json_answer(status, {"message": message}, headers)


def text_answer(text: str, content_type: str = "text/html; charset=utf-8") -> Answer:
    """A plain 200."""
    return Answer(200, (("Content-Type", content_type),), text.encode())


async def send_answer(answer: Answer, send: Send, *, is_head: bool = False) -> None:
    """Send an answer that is no stream through ASGI."""
    assert isinstance(answer.body, bytes)
    headers = [(_bytes(name), _bytes(value)) for name, value in answer.headers]
    if answer.status not in NO_BODY:
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = b"" if is_head or answer.status in NO_BODY else answer.body
    await send({"type": "http.response.body", "body": body})


def head_bytes(answer: Answer, framing: bytes, date: bytes) -> bytes:
    """Status line and headers as they go over the wire, the empty line included. ``framing`` is
    what says where the body ends and whether the connection does, as whole lines; ``date`` is the
    Date line. Headers that are not ours must be ``are_valid``."""
    parts = [_status_line(answer.status), date]
    for name, value in answer.headers:
        parts.append(f"{name}: {value}\r\n".encode("latin-1", "replace"))
    parts.append(framing)
    parts.append(b"\r\n")
    return b"".join(parts)


def are_valid(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether these can be sent: none would end its line early (RFC 9110, section 5.5)."""
    for name, value in headers:
        if name not in _GOOD_NAMES:
            if _NAME.fullmatch(name) is None:
                return False
            if len(_GOOD_NAMES) < 1000:
                _GOOD_NAMES.add(name)
        if not value.isprintable() and _ODD.search(value) is not None:
            return False
    return True


_GOOD_NAMES: set[str] = set()


_ODD = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATUS_LINES: dict[int, bytes] = {}


def _status_line(status: int) -> bytes:
    line = _STATUS_LINES.get(status)
    if line is None:
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "Unknown"
        line = _STATUS_LINES[status] = f"HTTP/1.1 {status} {phrase}\r\n".encode()
    return line


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")
