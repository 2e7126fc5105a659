"""What was seen of a deployment, kept in its record: when it changed, and now and then."""

from __future__ import annotations

import logging
from dataclasses import replace

import msgspec

from registry.clock import Clock
from registry.deployments import Deployments, Observed
from registry.errors import RegistryError
from runtime.deployments.memory import Memory, memory_text

KEEP_S = 5.0
"""How old what is kept may be where nothing but times changed."""

logger = logging.getLogger("inferry.deployments")


class Observation:
    """Of one deployment. Not for several threads at once."""

    def __init__(self, name: str, deployments: Deployments, clock: Clock) -> None:
        self._name, self._deployments, self._clock = name, deployments, clock
        self._kept: tuple[Observed, float] | None = None

    def __repr__(self) -> str:
        return f"Observation({self._name})"

    def keep(self, seen: Observed, memory: Memory, now_s: float) -> None:
        """``seen``: its time and memory are filled in here. Where the workspace cannot be written
        it is tried again at the next call."""
        compared = replace(seen, memory=memory_text(_without_times(memory)))
        if self._kept is not None and self._kept[0] == compared:
            is_shifting = memory.course is not None and not memory.course.is_over
            if now_s - self._kept[1] < KEEP_S and not is_shifting:
                return
        kept = replace(seen, seen_at=self._clock(), memory=memory_text(memory))
        try:
            self._deployments.observe(self._name, kept)
        except RegistryError as error:
            logger.warning("%s: what was seen is not kept: %s", self._name, error)
            return
        self._kept = compared, now_s


def _without_times(memory: Memory) -> Memory:
    """For comparison."""
    course = memory.course
    if course is None:
        return memory
    timeless = msgspec.structs.replace(course, elapsed_s=0.0, seen=0, seen_before=0)
    return msgspec.structs.replace(memory, course=timeless)
