"""Whether a module that ended is started again, and when. Pure.

The first restart comes at once. After that the wait doubles from ``backoff_s`` to
``max_backoff_s``, until the module has been healthy for ``reset_after_s``.

    state = Restarts()
    if is_wanted(restart.policy, end(exit_code=1)):
        state = after_end(state, restart, now)      # state.due: when to start it
    state = after_start(state)                      # when that is done
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from edge.messages.desired import Restart, RestartPolicy

End = Literal["done", "failed", "unhealthy", "lost"]
"""lost: it is gone, or nobody knows how it ended, as after a power cut."""
MAX_DOUBLINGS = 64


@dataclass(frozen=True, slots=True)
class Restarts:
    """``in_a_row``: ends since it was healthy for long enough; ``count``: restarts in all; ``due``:
    when it is to be started again, by the clock of ``now``; None: nothing waits."""

    in_a_row: int = 0
    count: int = 0
    due: float | None = None


def end(exit_code: int | None) -> End:
    """What kind of end that was."""
    if exit_code is None:
        return "lost"
    return "done" if exit_code == 0 else "failed"


def is_wanted(policy: RestartPolicy, what: End) -> bool:
    """Whether the policy starts it again. One that did not end by itself always is."""
    if policy == "always" or what == "lost":
        return True
    if policy == "never":
        return False
    return what == "failed" or (what == "unhealthy" and policy == "on-unhealthy")


def wait_s(restart: Restart, in_a_row: int) -> float:
    """How long to wait after so many ends in a row before this one."""
    if in_a_row <= 0:
        return 0.0
    doubled = max(restart.backoff_s, 0.0) * 2.0 ** min(in_a_row - 1, MAX_DOUBLINGS)
    return min(doubled, max(restart.max_backoff_s, 0.0))


def after_end(
    state: Restarts, restart: Restart, now: float, *, is_first_free: bool = True
) -> Restarts:
    """It ended; or could not be started, where the first try again is not free. What is due
    already stays so."""
    if state.due is not None:
        return state
    due = now + wait_s(restart, state.in_a_row + (not is_first_free))
    return replace(state, in_a_row=state.in_a_row + 1, due=due)


def after_start(state: Restarts) -> Restarts:
    """It was started again."""
    return replace(state, count=state.count + 1, due=None)


def after_health(state: Restarts, restart: Restart, healthy_s: float) -> Restarts:
    """It has been healthy for so long, without a break."""
    return replace(state, in_a_row=0) if healthy_s >= restart.reset_after_s else state
