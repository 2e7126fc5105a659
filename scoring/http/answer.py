"""One HTTP answer: made by a route, sent here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from starlette.types import Receive, Send

JSON = "application/json"
NO_BODY = frozenset({204, 304})

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (without Content-Length) and body. ``close``: end the connection then."""

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


async def send_answer(
    answer: Answer, send: Send, receive: Receive | None = None, *, is_head: bool = False
) -> None:
    """Write the answer. A stream that breaks off raises, so that the connection is cut and the
    client sees that its answer is incomplete."""
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": _raw_headers(answer),
        }
    )
    if isinstance(answer.body, bytes):
        body = b"" if is_head or answer.status in NO_BODY else answer.body
        await send({"type": "http.response.body", "body": body, "more_body": answer.close})
        return
    async with _until_gone(receive) as is_gone:
        async for chunk in answer.body:
            if is_gone():  # uvicorn drops what is sent to nobody: an endless stream would go on
                break
            if chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    close = getattr(answer.body, "aclose", None)
    if close is not None:
        await close()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@asynccontextmanager
async def _until_gone(receive: Receive | None) -> AsyncIterator[Callable[[], bool]]:
    """Whether the client has closed the connection, once its request was read whole."""
    if receive is None:
        yield lambda: False
        return
    gone = asyncio.ensure_future(receive())
    try:
        yield gone.done
    finally:
        gone.cancel()


def _raw_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    raw = [(_bytes(name), _bytes(value)) for name, value in answer.headers]
    if isinstance(answer.body, bytes) and answer.status not in NO_BODY:
        raw.append((b"content-length", b"%d" % len(answer.body)))
    if answer.close:
        raw.append((b"connection", b"close"))
    return raw


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")
