"""One flight recorder for several models of a process, whose batches run side by side.

parts = RecorderParts(recorder)
first, second = parts.part(), parts.part()      # one for each dispatcher
"""

from __future__ import annotations

from collections.abc import Sequence

from scoring.dispatcher import Recorder


class RecorderParts:
    """What runs is what runs in any of its parts: else the end of one model's batch would hide
    another's, and a death be blamed on the input that happened to be written down last."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._running: dict[Recorder, Sequence[bytes]] = {}

    def part(self) -> Recorder:
        """Another one."""
        return _Part(self)

    def set_part(self, part: Recorder, bodies: Sequence[bytes]) -> None:
        """These run in it now; nothing does if empty."""
        if bodies:
            self._running[part] = bodies
        else:
            self._running.pop(part, None)
        running = [body for bodies in self._running.values() for body in bodies]
        if running:
            self._recorder.set_running(running)
        else:
            self._recorder.clear_running()


class _Part:
    def __init__(self, parts: RecorderParts) -> None:
        self._parts = parts

    def set_running(self, bodies: Sequence[bytes]) -> None:
        self._parts.set_part(self, bodies)

    def clear_running(self) -> None:
        self._parts.set_part(self, ())
