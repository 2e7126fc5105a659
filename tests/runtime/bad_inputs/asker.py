"""Asks an ASGI application in this process, tens of thousands of times.

As uvicorn does and not as a client library: what is in a path stays as it was written, and a
request costs what the service takes for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import unquote, urlencode

import httpx
from starlette.types import ASGIApp, Message, Scope

BEGIN_S = 30.0
FORM = "application/x-www-form-urlencoded"


class Asker:
    """Of one application, in one loop."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        data: Mapping[str, str] | None = None,
        is_stream: bool = False,
    ) -> httpx.Response:
        """One request. ``path`` as it goes over the wire, with the query; ``data``: a form instead
        of ``content``. Of a stream the client sees how it begins, and goes away."""
        sent = {"host": "127.0.0.1"}
        sent |= {name.lower(): text for name, text in (headers or {}).items()}
        if data is not None:
            content = urlencode(data).encode()
            sent.setdefault("content-type", FORM)
        if content or method not in ("GET", "HEAD"):
            sent["content-length"] = str(len(content))
        scope = _scope(method, path, sent)
        asked = _begun if is_stream else _whole
        return self._loop.run_until_complete(asked(self._app, scope, content))

    def close(self) -> None:
        """Nothing is asked any more."""
        self._loop.close()


def _scope(method: str, path: str, headers: Mapping[str, str]) -> Scope:
    raw_path, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": method,
        "scheme": "http",
        "http_version": "1.1",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode("ascii"),
        "root_path": "",
        "query_string": query.encode("ascii"),
        "headers": [(name.encode(), text.encode("latin-1")) for name, text in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", None),
    }


class _Exchange:
    """What one request says, and what it is told."""

    def __init__(self, content: bytes) -> None:
        self._body: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]
        self._told: list[Message] = []
        self.has_begun = asyncio.Event()
        self.has_ended = asyncio.Event()

    async def receive(self) -> Message:
        """The body, then nothing until the answer is whole."""
        if self._body:
            return self._body.pop()
        await self.has_ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """A part of the answer."""
        self._told.append(message)
        is_body = message["type"] == "http.response.body"
        if is_body or message["status"] == 200:
            self.has_begun.set()
        if is_body and not message.get("more_body", False):
            self.has_ended.set()

    @property
    def response(self) -> httpx.Response:
        """What has come until now."""
        assert self._told, "no answer began"
        start, *rest = self._told
        content = b"".join(each.get("body", b"") for each in rest)
        return httpx.Response(start["status"], headers=start["headers"], content=content)


async def _whole(app: ASGIApp, scope: Scope, content: bytes) -> httpx.Response:
    exchange = _Exchange(content)
    await app(scope, exchange.receive, exchange.send)
    assert exchange.has_ended.is_set(), "the answer has no end"
    return exchange.response


async def _begun(app: ASGIApp, scope: Scope, content: bytes) -> httpx.Response:
    exchange = _Exchange(content)
    asked = asyncio.ensure_future(_asked(app, scope, exchange))
    waiting = asyncio.ensure_future(exchange.has_begun.wait())
    await asyncio.wait([asked, waiting], timeout=BEGIN_S, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    waiting.cancel()
    await asyncio.gather(asked, waiting, return_exceptions=True)
    return exchange.response


async def _asked(app: ASGIApp, scope: Scope, exchange: _Exchange) -> None:
    await app(scope, exchange.receive, exchange.send)
