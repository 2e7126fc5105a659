"""What goes to a script engine and what comes back: HTTP in the shape that score.py sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from scoring.frames import Headers, ScoreRequest


@dataclass(frozen=True, slots=True)
class ScriptRequest:
    """One request for run(): the frame that the worker reads, and its body."""

    head: ScoreRequest
    body: bytes


@dataclass(frozen=True, slots=True)
class ScriptReply:
    """What run() answered. ``body`` is an iterator when run() returned a stream; it raises
    EngineError where the stream breaks off, and the worker is free again only after its end."""

    status: int
    headers: Headers
    body: bytes | AsyncIterator[bytes]
    run_ms: float | None = None
    failed: bool = False
