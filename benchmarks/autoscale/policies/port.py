"""What the simulator asks."""

from __future__ import annotations

from typing import Protocol

from runtime.autoscale.reading import Reading


class Policy(Protocol):
    """``interval_s``: how often it looks. ``replicas``: how many there are to be from now on;
    ``wanted`` is what it said last (or what the simulation began with)."""

    @property
    def interval_s(self) -> int: ...

    def replicas(self, reading: Reading, wanted: int) -> int: ...
