"""Server-sent events: a part of a page, sent when it has changed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from runtime.portal.answers import Part
from runtime.portal.template import render

EVERY_S = 1.0
ALIVE_EVERY = 15
MOST_LOOKS = 3600
"""Then the browser asks anew, with its session of then."""


async def stream(
    look: Callable[[], Awaitable[Part | None]],
    closing: threading.Event,
    hidden: Mapping[str, str],
    *,
    every_s: float = EVERY_S,
) -> AsyncIterator[bytes]:
    """The events of one part: "part" with its text, and "over" when nothing more will come. Ends
    when ``look`` has nothing to show any more, and when the service does."""
    last, quiet = "", 0
    for _ in range(MOST_LOOKS):
        if closing.is_set():
            return
        try:
            part = await look()
        except Exception:
            part = None  # what is watched is gone
        if part is None:
            yield _event("over", "")
            return
        text = render(part.template, part.values, hidden)
        if text != last:
            yield _event("part", text)
            last, quiet = text, 0
        if part.is_over:
            yield _event("over", "")
            return
        quiet += 1
        if quiet % ALIVE_EVERY == 0:
            yield b":\n\n"
        await asyncio.sleep(every_s)


def _event(name: str, text: str) -> bytes:
    return f"event: {name}\ndata: {json.dumps(text)}\n\n".encode()
