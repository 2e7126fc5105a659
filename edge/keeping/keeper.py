"""Keeps the live instance of one module running, in a thread of its own.

keeper = LiveKeeper("digits", host)
keeper.open()
keeper.set(instance, module.restart, module.probe)
keeper.view()                      # LiveView(digest=..., health="starting", ...)
with keeper.hands_off(): ...       # the switch works on the instance
keeper.close()                     # the instance goes on

Until something was set it does nothing: what an earlier agent started goes on. What goes wrong in
the host (an engine that is down) is shown and tried again; meanwhile the module is still probed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from edge.errors import EdgeError
from edge.hosts.port import Instance, InstanceId, ModuleHost, Observed
from edge.keeping.http_probe import probe as http_probe
from edge.keeping.port import OUT_OF_MEMORY, LiveView
from edge.keeping.probing import Probing, after_probe, due, health, healthy_s, is_due
from edge.keeping.restarts import (
    End,
    Restarts,
    after_end,
    after_health,
    after_start,
    end,
    is_wanted,
)
from edge.messages.desired import Probe, Restart
from edge.messages.reported import Health

LOOK_S = 0.5
"""How often it looks at what runs: an end is noticed within this."""
IDLE_S = 60.0
RETRY_S, MAX_RETRY_S = 1.0, 5.0
"""After an error of the host."""
GRACE_S = 10.0

logger = logging.getLogger("edge")
Prober = Callable[[str, int, str, float], str | None]


@dataclass(frozen=True, slots=True)
class _Order:
    """What shall be live. ``number`` grows with each other instance."""

    number: int
    instance: Instance | None
    restart: Restart
    probe: Probe


@dataclass(slots=True)
class _Kept:
    """What is known of the instance of one order. Only the step changes it."""

    number: int
    is_adopting: bool = False
    """What has ended is its end, and no other's before it."""
    is_ensured: bool = False
    """The host was asked for it, with these settings."""
    probing: Probing | None = None
    restarts: Restarts = field(default_factory=Restarts)
    seen: Observed | None = None
    last_end: Observed | None = None
    was_host_away: bool = False
    """Since the instance was last seen running."""
    host_errors: int = 0


class LiveKeeper:
    """The Keeper. ``probe``: asks (address, port, path, timeout_s), returns what is wrong."""

    def __init__(
        self,
        module: str,
        host: ModuleHost,
        *,
        clock: Callable[[], float] = time.monotonic,
        probe: Prober = http_probe,
        look_s: float = LOOK_S,
    ) -> None:
        self._id = InstanceId(module, "live")
        self._host, self._clock, self._probe, self._look_s = host, clock, probe, look_s
        self._steps = threading.RLock()
        self._state = threading.Lock()
        self._order: _Order | None = None
        self._kept = _Kept(-1)
        self._view = LiveView(None, "stopped")
        self._is_restart_asked = False
        self._woken = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=f"keeper of {module}", daemon=True)

    def __repr__(self) -> str:
        return f"LiveKeeper({self._id}, {self.view()})"

    def open(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self, timeout_s: float = 10.0) -> bool:
        """End the thread; the instance goes on. Whether it has ended in time. Idempotent."""
        self._is_closed = True
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def set(self, instance: Instance | None, restart: Restart, probe: Probe) -> None:
        with self._state:
            old = self._order
            is_same = old is not None and old.instance == instance
            number = old.number + (not is_same) if old is not None else 0
            self._order = _Order(number, instance, restart, probe)
            if not is_same:
                digest = None if instance is None else instance.digest
                self._view = LiveView(digest, "stopped" if instance is None else "starting")
        self._woken.set()

    @contextmanager
    def hands_off(self) -> Iterator[None]:
        with self._steps:
            try:
                yield
            finally:
                # Whoever worked on it may have changed it, or seen it end: what was known of it
                # is old, and its former ends are not those of what runs now.
                kept = self._kept
                kept.is_ensured, kept.is_adopting = False, True
                kept.restarts = replace(kept.restarts, due=None, in_a_row=0)
                kept.probing = None
                with self._state:
                    if self._order is not None and self._order.instance is not None:
                        self._view = replace(
                            self._view, health="starting", healthy_s=0.0, error=None
                        )
                self._woken.set()

    def restart(self) -> None:
        """Returns at once; it is done in the next step."""
        self._is_restart_asked = True
        self._woken.set()

    def view(self) -> LiveView:
        with self._state:
            return self._view

    def step(self) -> float:
        """Look once, and do what is due. Returns how long nothing is, in seconds; never raises an
        EdgeError."""
        with self._steps:
            with self._state:
                order = self._order
            if order is None:
                return IDLE_S
            if self._kept.number != order.number:
                self._kept = _Kept(order.number, is_adopting=order.number == 0)
            try:
                wait_s = self._keep(order)
                self._kept.host_errors = 0
                return wait_s
            except EdgeError as error:
                return self._failed(order, str(error))

    def _run(self) -> None:
        while not self._is_closed:
            try:
                wait_s = self.step()
            except Exception:
                logger.exception("the keeper of %s goes on after", self._id.module)
                wait_s = MAX_RETRY_S
            self._woken.wait(wait_s)
            self._woken.clear()

    def _keep(self, order: _Order) -> float:
        instance, kept = order.instance, self._kept
        if instance is None:
            return self._keep_none(order)
        if self._is_restart_asked:
            self._host.stop(self._id, GRACE_S)
            self._start(order, instance, is_again=True)
            self._is_restart_asked = False
        seen = self._look()
        if not kept.is_ensured:
            return self._ensure(order, instance, seen)
        if kept.was_host_away and (seen is None or seen.state == "exited"):
            # The end of an engine ends all that it runs, which then may say 0 as if it was done.
            logger.info("%s ended with its host, and is started again", self._id.module)
            self._start(order, instance, is_again=False)
            return 0.0
        kept.seen, kept.was_host_away = seen, False
        if seen is None:
            return self._ended(order, instance, "lost", "it is gone")
        if seen.state == "exited":
            kept.last_end = seen
            return self._ended(order, instance, end(seen.exit_code), _said(seen))
        return self._watch(order, instance, seen)

    def _keep_none(self, order: _Order) -> float:
        self._is_restart_asked = False
        if not self._kept.is_ensured:
            self._host.stop(self._id, GRACE_S)
            self._kept.is_ensured = True
        self._show(order, LiveView(None, "stopped"))
        return IDLE_S

    def _ensure(self, order: _Order, instance: Instance, seen: Observed | None) -> float:
        """It shall run, with these settings. Zero: look again at once."""
        kept = self._kept
        if kept.restarts.due is not None and self._clock() < kept.restarts.due:
            return self._wait_s(kept.restarts.due)
        is_ended = seen is not None and seen.state == "exited"
        if not (is_ended and kept.is_adopting and seen and seen.digest == instance.digest):
            self._start(order, instance, is_again=False)
        kept.is_ensured = True
        return 0.0

    def _start(self, order: _Order, instance: Instance, *, is_again: bool) -> None:
        kept = self._kept
        try:
            self._host.start(instance)
        except EdgeError:
            waited = replace(kept.restarts, due=None)
            kept.restarts = after_end(waited, order.restart, self._clock(), is_first_free=False)
            raise
        kept.probing, kept.was_host_away = Probing(self._clock()), False
        done = kept.restarts
        kept.restarts = after_start(done) if is_again else replace(done, due=None)

    def _ended(self, order: _Order, instance: Instance, what: End, error: str) -> float:
        """It does not run, or is not well."""
        kept = self._kept
        if not is_wanted(order.restart.policy, what):
            said = None if what == "done" else error
            self._show(
                order,
                self._viewed(instance, said, "unhealthy" if what == "unhealthy" else "stopped"),
            )
            return self._look_s
        now = self._clock()
        kept.restarts = after_end(kept.restarts, order.restart, now)
        due_at = now if kept.restarts.due is None else kept.restarts.due
        self._show(order, self._viewed(instance, error, "unhealthy"))
        if now < due_at:
            return min(due_at - now, self._look_s)
        logger.info("%s is started again: %s", self._id.module, error)
        if what == "unhealthy":
            self._host.stop(self._id, GRACE_S)
        self._start(order, instance, is_again=True)
        return 0.0

    def _watch(self, order: _Order, instance: Instance, seen: Observed) -> float:
        """It runs: is it well?"""
        kept = self._kept
        self._probe_if_due(order, seen)
        assert kept.probing is not None
        now = self._clock()
        kept.restarts = after_health(kept.restarts, order.restart, healthy_s(kept.probing, now))
        found = health(kept.probing, order.probe)
        if found == "unhealthy":
            return self._ended(order, instance, "unhealthy", kept.probing.error or "it is not well")
        kept.restarts = replace(kept.restarts, due=None)
        self._show(order, self._viewed(instance, kept.probing.error, found))
        return min(self._look_s, self._wait_s(due(kept.probing, order.probe)))

    def _probe_if_due(self, order: _Order, seen: Observed) -> None:
        kept, probe = self._kept, order.probe
        if kept.probing is None:
            kept.probing = Probing(self._clock())
        if not is_due(kept.probing, probe, self._clock()):
            return
        if seen.port is None:
            error: str | None = "it does not say where it answers"
        else:
            error = self._probe(seen.address, seen.port, probe.path, probe.timeout_s)
        kept.probing = after_probe(kept.probing, probe, error, self._clock())

    def _failed(self, order: _Order, error: str) -> float:
        """The host does not work. What was known to run is still probed."""
        kept, instance, due_at = self._kept, order.instance, self._kept.restarts.due
        kept.host_errors += 1
        if instance is None:
            self._show(order, LiveView(None, "stopped", error=error, is_host_away=True))
        else:
            is_running = kept.seen is not None and kept.seen.state == "running"
            kept.was_host_away = kept.was_host_away or is_running
            if is_running and kept.seen is not None:
                self._probe_if_due(order, kept.seen)
            found: Health = "unhealthy"
            if is_running and kept.probing is not None:
                found = health(kept.probing, order.probe)
            self._show(order, replace(self._viewed(instance, error, found), is_host_away=True))
        wait_s = min(RETRY_S * 2.0 ** min(kept.host_errors - 1, 16), MAX_RETRY_S)
        return wait_s if due_at is None else min(wait_s, max(self._wait_s(due_at), RETRY_S))

    def _look(self) -> Observed | None:
        return next((each for each in self._host.list() if each.id == self._id), None)

    def _viewed(self, instance: Instance, error: str | None, health: Health) -> LiveView:
        kept, seen, last = self._kept, self._kept.seen, self._kept.last_end
        is_healthy = kept.probing is not None and health == "healthy"
        return LiveView(
            instance.digest,
            health,
            kept.restarts.count,
            healthy_s(kept.probing, self._clock()) if is_healthy and kept.probing else 0.0,
            port=None if seen is None else seen.port,
            started_at_s=None if seen is None else seen.started_at_s,
            exit_code=None if last is None else last.exit_code,
            is_out_of_memory=last is not None and last.is_out_of_memory,
            error=error,
        )

    def _wait_s(self, until: float) -> float:
        return max(0.0, until - self._clock())

    def _show(self, order: _Order, view: LiveView) -> None:
        with self._state:
            if self._order is not None and self._order.number == order.number:
                self._view = view


def _said(seen: Observed) -> str:
    """How it ended, in words."""
    if seen.is_out_of_memory:
        return OUT_OF_MEMORY
    if seen.exit_code is None:
        return "it ended, nobody knows how"
    return f"it ended with exit code {seen.exit_code}"
