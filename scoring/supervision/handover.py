"""A reload of what one process at a time can have, a board for example. Pure.

    handover = Handover(old, new)        # the old processes were told to leave
    fleet = handover.vacated()           # all who had it are gone: who is to load now?

The old ones leave before the new ones load, and if those do not, the old ones load again. Meanwhile
nobody gets a connection: clients wait, at the listening sockets or where they are, and none fails.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Generic, TypeVar

from scoring.supervision.fleet import Fleet

G = TypeVar("G")


class Phase(Enum):
    """What goes on."""

    LEAVING = auto()
    """The old processes finish what they have, and go."""
    LOADING = auto()
    """The new ones load."""
    GIVEN_UP = auto()
    """The new ones failed, and go."""
    RESTORING = auto()
    """The old bundle loads again."""


class Handover(Generic[G]):
    """From one fleet to another, or back."""

    def __init__(self, old: Fleet[G], new: Fleet[G]) -> None:
        self.old, self.new = old, new
        self.phase = Phase.LEAVING

    def __repr__(self) -> str:
        return f"<Handover {self.phase.name.lower()}>"

    @property
    def waits(self) -> bool:
        """Whether somebody has to go before the next can load."""
        return self.phase in (Phase.LEAVING, Phase.GIVEN_UP)

    def vacated(self) -> Fleet[G]:
        """All who had it are gone; the result is to load."""
        assert self.waits
        is_forward = self.phase is Phase.LEAVING
        self.phase = Phase.LOADING if is_forward else Phase.RESTORING
        return self.new if is_forward else self.old

    def give_up(self) -> None:
        """The new ones do not load."""
        assert self.phase in (Phase.LEAVING, Phase.LOADING)
        self.phase = Phase.GIVEN_UP

    def may_fork(self, fleet: Fleet[G]) -> bool:
        """Whether a process of the fleet may be started now."""
        loads = {Phase.LOADING: self.new, Phase.RESTORING: self.old}
        return loads.get(self.phase) is fleet
