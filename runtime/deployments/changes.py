"""Changes of scale, told to whoever listens: one begins; then it is through, has failed or was
replaced.

changes = Changes("web", listener)
scale = changes.asked(decision, scale, now_s)         # what is in force from now on
changes.look(is_there=False, ready=2, trouble=None, now_s=now_s)

The records are those of runtime/autoscale/change.py. A listener may hold a change back: it is asked
again, and meanwhile the scale stays. It is asked about the same change as long as that is wanted at
all: a need that moves each second would otherwise be asked about anew for ever.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Protocol

from runtime.autoscale.change import After, Before, Outcome, after, before
from runtime.autoscale.decision import Decision
from runtime.hooks.listener import ChangeFigures
from runtime.hooks.running import HookNote

LONGEST_S = 600.0
"""A change that is not through by then has failed; what is wanted stays."""


class Listener(Protocol):
    """Called in the thread of the deployment: it must return at once, and never raise."""

    def begins(self, change: Before) -> bool:
        """False: not yet, ask again with the same record; a listener must not say so for ever."""
        ...

    def ended(self, change: After) -> None:
        """Of each change that was asked about, once; but of none when the controller ended
        meanwhile."""
        ...

    def waits(self) -> str | None:
        """For what the change waits that is held back, in one line; None where none is."""
        ...

    def notes(self) -> tuple[HookNote, ...]:
        """What came of each hook last: kept in the deployment's record."""
        ...

    def remember(self, notes: tuple[HookNote, ...]) -> None:
        """What the record had when the controller began."""
        ...

    def figures(self) -> ChangeFigures:
        """Counted since the controller began. Any thread may ask."""
        ...

    def close(self) -> None:
        """The controller ends: waits for seconds at most."""
        ...


class Nobody:
    """Listens to nothing."""

    def begins(self, change: Before) -> bool:
        return True

    def ended(self, change: After) -> None:
        return None

    def waits(self) -> str | None:
        return None

    def notes(self) -> tuple[HookNote, ...]:
        return ()

    def remember(self, notes: tuple[HookNote, ...]) -> None:
        return None

    def figures(self) -> ChangeFigures:
        return ChangeFigures()

    def close(self) -> None:
        return None


class Changes:
    """Of one deployment. Not for several threads at once. ``wall``: seconds since 1970, for people;
    how long one took is measured by ``now_s``, which is monotonic."""

    def __init__(
        self,
        deployment: str,
        listener: Listener | None = None,
        *,
        wall: Callable[[], float] = time.time,
        token: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._deployment, self._listener = deployment, listener or Nobody()
        self._wall, self._token = wall, token
        self._held_back: Before | None = None
        self._current: Before | None = None
        self._began_s = 0.0

    def __repr__(self) -> str:
        return f"Changes({self._deployment}, {self._current}, held back: {self._held_back})"

    @property
    def current(self) -> Before | None:
        """The one that began last and is not through."""
        return self._current

    def asked(
        self,
        decision: Decision,
        scale: int,
        now_s: float,
        *,
        ready: int = 0,
        most: int | None = None,
    ) -> int:
        """``scale``: in force until now; ``ready``: replicas that answer; ``most``: so many are
        declared. Returns what is in force from now on: what was decided when it was first asked
        about, or the old one where it is held back."""
        held = self._held_back
        if held is not None and not _is_wanted(held, decision, scale, most):
            self._held_back = None  # told that it begins, and now it does not
            self._tell(held, Outcome.REPLACED, ready, 0.0)
        if self._held_back is None:
            self._held_back = before(
                decision,
                change=self._token(),
                deployment=self._deployment,
                at_unix_s=self._wall(),
                from_replicas=scale,
            )
        if self._held_back is None or not self._listener.begins(self._held_back):
            return scale
        if self._current is not None:
            self._end(Outcome.REPLACED, ready, now_s)
        self._current, self._held_back, self._began_s = self._held_back, None, now_s
        return self._current.to_replicas

    def look(self, *, is_there: bool, ready: int, trouble: str | None, now_s: float) -> None:
        """``is_there``: what is wanted answers, and nothing else runs; ``trouble``: what is wrong
        with a replica or its host."""
        if self._current is None:
            return
        if is_there:
            self._end(Outcome.DONE, ready, now_s)
        elif now_s - self._began_s >= LONGEST_S:
            said = trouble or f"it was not through within {LONGEST_S:g} s"
            self._end(Outcome.FAILED, ready, now_s, said)

    def stop(self, why: str, *, ready: int, now_s: float) -> None:
        """Nothing is wanted any more. Idempotent."""
        if self._held_back is not None:
            self._tell(self._held_back, Outcome.FAILED, ready, 0.0, why)
            self._held_back = None
        if self._current is not None:
            self._end(Outcome.FAILED, ready, now_s, why)

    def _end(self, outcome: Outcome, ready: int, now_s: float, error: str | None = None) -> None:
        assert self._current is not None
        self._tell(self._current, outcome, ready, now_s - self._began_s, error)
        self._current = None

    def _tell(
        self, change: Before, outcome: Outcome, ready: int, took_s: float, error: str | None = None
    ) -> None:
        self._listener.ended(
            after(
                change,
                outcome,
                at_unix_s=self._wall(),
                ready_replicas=ready,
                took_s=took_s,
                error=error,
            )
        )


def _is_wanted(held: Before, decision: Decision, scale: int, most: int | None) -> bool:
    """Still: more than are needed by now may come, but never fewer."""
    if held.from_replicas != scale:
        return False
    if held.to_replicas > scale:
        return decision.replicas > scale and (most is None or held.to_replicas <= most)
    return decision.replicas <= held.to_replicas
