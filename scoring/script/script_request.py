"""What goes to a script engine and what comes back: HTTP in the shape that score.py sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from scoring.script.frames import Headers, ScoreRequest


class ScriptRequest(msgspec.Struct, frozen=True, gc=False):
    """One request for run(): the frame that the worker reads, and its body. (A Struct, because one
    is made for each request, five times as fast as a frozen dataclass.)"""

    head: ScoreRequest
    body: bytes


class ScriptReply(msgspec.Struct, frozen=True):
    """What run() answered. ``body`` is a ScriptStream when run() returned a stream; it raises
    EngineError where the stream breaks off, and the worker is free again only after its end."""

    status: int
    headers: Headers
    body: bytes | AsyncIterator[bytes]
    run_ms: float | None = None
    failed: bool = False
    """run() raised or timed out."""
