"""What a check says: how it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from edge.agent.config import AgentConfig

Level = Literal["ok", "warn", "fail"]


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found, and what to do about it."""

    name: str
    level: Level
    text: str
    advice: str = ""


def ok(name: str, text: str) -> Check:
    """As it should be."""
    return Check(name, "ok", text)


def warn(name: str, text: str, advice: str) -> Check:
    """Not as it should be; the device works."""
    return Check(name, "warn", text, advice)


def fail(name: str, text: str, advice: str) -> Check:
    """Something does not work."""
    return Check(name, "fail", text, advice)


Probe = Callable[[AgentConfig], Check]
