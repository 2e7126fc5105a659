"""What a supervisor calls: the program's part in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from scoring.supervision.parent_link import ParentLink

G = TypeVar("G")


def _keep_new(past: bytes, snapshot: bytes) -> bytes:
    return snapshot


def _no_verdict(bodies: list[bytes], was_alone: bool) -> bytes | None:
    return None


def _nothing() -> None:
    return None


def _never(generation: object) -> bool:
    return False


def _not_heard(payload: bytes) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks(Generic[G]):
    """What the supervisor calls. All but ``child_main`` run in its own process, between two
    events: they should be quick, and must not start threads."""

    child_main: Callable[[G, ParentLink], int]
    """Runs in each server process; its result is the exit code."""
    reload: Callable[[], G]
    """What to serve from now on. May raise: then the old generation stays."""
    on_ready: Callable[[], None] = _nothing
    """All processes are ready for the first time."""
    fold: Callable[[bytes, bytes], bytes] = _keep_new
    """fold(past, snapshot of a process that ended) -> the new past."""
    on_death: Callable[[list[bytes], bool], bytes | None] = _no_verdict
    """on_death(bodies, was_alone): a process died of itself while these ran; ``was_alone`` when it
    was one body and no other. The result is told to all processes. It is called before a successor
    is forked, which so inherits what it remembers."""
    on_tell: Callable[[bytes], None] = _not_heard
    """The payload of each Tell and Ask of a process of the current generation, likewise."""
    is_exclusive: Callable[[G], bool] = _never
    """Whether one process at a time can have what this generation serves (handover.py)."""
