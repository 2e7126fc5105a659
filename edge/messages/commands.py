"""Commands to a device, and their replies. A command that arrives twice is done once: its id says
so. One that arrives after ``expires_ms`` (the hub's clock) is refused.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Name = Literal["ping", "logs", "restart", "check", "support-bundle", "telemetry-flush"]


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """``arguments``: of "logs": module, lines; of "restart": module; of the others none."""

    v: int
    id: str
    name: Name
    expires_ms: int
    arguments: dict[str, Any] = {}


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """A long result comes in parts, each with its number; the last has ``parts``. ``text`` of them
    all, one after another, is the result (of a support bundle: base64 of a tar.gz)."""

    v: int
    id: str
    ok: bool
    text: str = ""
    error: str | None = None
    part: int = 0
    parts: int | None = 1
