"""How an answer without an end begins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx
from starlette.types import Message, Receive, Scope, Send

App = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]


async def begin(app: App, request: httpx.Request) -> httpx.Response:
    """Asks, and goes away when the body begins."""
    sent: list[Message] = []
    has_begun = asyncio.Event()
    body = iter([{"type": "http.request", "body": request.content, "more_body": False}])

    async def receive() -> Message:
        if (message := next(body, None)) is not None:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" or message["status"] == 200:
            has_begun.set()

    raw_path, _, query = request.url.raw_path.partition(b"?")
    scope = {
        "type": "http",
        "method": request.method,
        "scheme": "http",
        "http_version": "1.1",
        "path": unquote_to_bytes(raw_path).decode("utf-8", "surrogateescape"),
        "raw_path": raw_path,
        "root_path": "",
        "query_string": query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", None),
    }
    asked = asyncio.create_task(app(scope, receive, send))
    waiting = asyncio.create_task(has_begun.wait())
    await asyncio.wait([asked, waiting], timeout=30, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    waiting.cancel()
    await asyncio.gather(asked, waiting, return_exceptions=True)
    assert sent, "it did not begin"
    body_sent = b"".join(each.get("body", b"") for each in sent[1:])
    return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=body_sent)
