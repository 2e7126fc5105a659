"""The states of one module on its way from one version to the next. Pure.

    IDLE -> PULLING -> LOADING -> WAITING -> STARTING -> GATING -> SHADOWING
      ^                            |  ^                   |            |
      |                            |  +-------------------+------------+   a lock came meanwhile
      |      (until here the old version answers; "next" may be dropped at any time)
      |                            v
      +------- WATCHING <----- SWITCHING <------- GATING, SHADOWING
                  |                |
                  +-> ROLLING_BACK <-+
                          |
                       FAILED   (until something else is wanted)

What came into service is on trial for ``watch_s``. When something newer is wanted meanwhile, that
is prepared, and the trial goes on: until it is over, the way back leads to the version before.

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
COMMITTED = frozenset({State.IDLE, State.WATCHING, State.FAILED})
"""What is in service is so by decision."""

_NEXT: dict[State, frozenset[State]] = {
    State.IDLE: frozenset({State.PULLING}),
    State.FAILED: frozenset({State.PULLING, State.IDLE, State.WATCHING, State.ROLLING_BACK}),
    State.PULLING: frozenset({State.LOADING}),
    State.LOADING: frozenset({State.WAITING}),
    State.WAITING: frozenset({State.STARTING, State.SWITCHING}),
    State.STARTING: frozenset({State.GATING}),
    State.GATING: frozenset({State.SHADOWING, State.WAITING, State.SWITCHING}),
    State.SHADOWING: frozenset({State.WAITING, State.SWITCHING}),
    State.SWITCHING: frozenset({State.WATCHING, State.ROLLING_BACK}),
    State.WATCHING: frozenset({State.IDLE, State.PULLING, State.ROLLING_BACK}),
    State.ROLLING_BACK: frozenset({State.FAILED}),
}
_FROM_PREPARING = COMMITTED | {State.ROLLING_BACK}
"""It may be given up or fail at any time, and so may what is on trial meanwhile."""


class IllegalMoveError(Exception):
    """A mistake of ours."""


def move(old: State, new: State) -> State:
    """``new``, where that may come after ``old``. Raises IllegalMoveError."""
    if new in _NEXT[old] or (old in PREPARING and new in _FROM_PREPARING):
        return new
    raise IllegalMoveError(f"a module cannot go from {old.value} to {new.value}")


def at_rest(is_on_trial: bool) -> State:
    """Where a module is while nothing is done with it, and nothing failed."""
    return State.WATCHING if is_on_trial else State.IDLE


def after_restart(state: State, is_on_trial: bool) -> State:
    """Where to go on after the agent, or the machine, was killed."""
    return at_rest(is_on_trial) if state in PREPARING else state
