"""The states of one module on its way from one version to the next. Pure.

    IDLE -> PULLING -> LOADING -> WAITING -> STARTING -> GATING -> SHADOWING
      ^                                                               |
      |      (until here the old version answers; "next" may be dropped at any time)
      |                                                               v
      +------------------------- WATCHING <----------------------- SWITCHING
                                     |                                |
                                     +--------> ROLLING_BACK <--------+
                                                     |
                                                  FAILED   (until something else is wanted)

A state is on disk before anything is done in it. After a restart:

    before SWITCHING     as if nothing had been begun: "next" is dropped, and it begins again
    SWITCHING            forward: the new version comes into service, then it is watched
    WATCHING             watched again, for the whole time
    ROLLING_BACK         back: the old version comes into service
    IDLE, FAILED         what was committed is kept running
"""

from __future__ import annotations

from enum import Enum

from edge.messages.reported import Phase


class State(Enum):
    """Its value is on disk."""

    IDLE = "idle"
    PULLING = "pulling"
    LOADING = "loading"
    WAITING = "waiting"
    STARTING = "starting"
    GATING = "gating"
    SHADOWING = "shadowing"
    SWITCHING = "switching"
    WATCHING = "watching"
    ROLLING_BACK = "rolling back"
    FAILED = "failed"

    @property
    def phase(self) -> Phase:
        """As it is reported."""
        phases: dict[str, Phase] = {
            "idle": "idle", "pulling": "pulling", "loading": "loading", "waiting": "waiting",
            "starting": "starting", "gating": "gating", "shadowing": "shadowing",
            "switching": "switching", "watching": "watching", "rolling back": "rolling back",
            "failed": "failed",
        }  # fmt: skip
        return phases[self.value]


PREPARING = frozenset(
    {State.PULLING, State.LOADING, State.WAITING, State.STARTING, State.GATING, State.SHADOWING}
)
"""The old version answers, and nothing was decided."""
COMMITTED = frozenset({State.IDLE, State.FAILED})

_NEXT: dict[State, frozenset[State]] = {
    State.IDLE: frozenset({State.PULLING}),
    State.FAILED: frozenset({State.PULLING, State.IDLE}),
    State.PULLING: frozenset({State.LOADING}),
    State.LOADING: frozenset({State.WAITING}),
    State.WAITING: frozenset({State.STARTING, State.SWITCHING}),
    State.STARTING: frozenset({State.GATING}),
    State.GATING: frozenset({State.SHADOWING, State.SWITCHING}),
    State.SHADOWING: frozenset({State.SWITCHING}),
    State.SWITCHING: frozenset({State.WATCHING, State.ROLLING_BACK}),
    State.WATCHING: frozenset({State.IDLE, State.ROLLING_BACK}),
    State.ROLLING_BACK: frozenset({State.FAILED, State.IDLE}),
}


class IllegalMoveError(Exception):
    """A mistake of ours."""


def move(old: State, new: State) -> State:
    """``new``. What is being prepared may be given up (IDLE) or fail at any time. Raises
    IllegalMoveError."""
    if new in _NEXT[old] or (old in PREPARING and new in COMMITTED):
        return new
    raise IllegalMoveError(f"a module cannot go from {old.value} to {new.value}")


def after_restart(state: State) -> State:
    """Where to go on after the agent, or the machine, was killed."""
    return State.IDLE if state in PREPARING else state
