"""What a controller must know to go on where another one was: kept in the deployment's record."""

from __future__ import annotations

import msgspec

from runtime.deployments.course import Course
from runtime.hooks.running import HookNote


class Memory(msgspec.Struct, frozen=True, omit_defaults=True):
    """``port``: the free one that was found for a service which named none; ``scale``: how many
    replicas all of its traffic needs, as it was decided last; ``hooks``: what came of each."""

    course: Course | None = None
    port: int = 0
    scale: int | None = None
    hooks: tuple[HookNote, ...] = ()


def read_memory(text: str | None) -> Memory:
    """An empty one for what cannot be read: then replicas and traffic say what there is."""
    try:
        return msgspec.json.decode(text or "{}", type=Memory)
    except (msgspec.MsgspecError, ValueError):
        return Memory()


def memory_text(memory: Memory) -> str:
    """As it is kept."""
    return msgspec.json.encode(memory).decode()
