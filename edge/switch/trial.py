"""What came into service is on trial: for ``watch_s`` an end, bad health or silence brings the old
version back. It asks by itself, and more often than the keeper, whose patience is for modules that
have shown themselves.
"""

from __future__ import annotations

from collections.abc import Callable

from edge.keeping.http_probe import probe as http_probe
from edge.keeping.port import LiveView
from edge.messages.desired import Module
from edge.switch.worker_ends import worker_ends

RECENT_S = 60.0
"""Failed probes within so long count together, also with good ones in between: a server whose
workers end again and again is ready most of the time."""
HOST_S = 10.0
"""A host that answers, and fails with this instance for so long, is not what is ill."""
ENDS = 2
"""Processes of the server that ended by themselves; one may be an accident."""
ENDS_EVERY_S = 2.0
Prober = Callable[[str, int, str, float], str | None]


class Trial:
    """Of one release. ``view``: of the keeper, which has counted ``restarts_before`` already.
    ``is_host_well``: whether the host answers; while it does not, no end is the module's fault."""

    def __init__(
        self,
        module: Module,
        view: Callable[[], LiveView],
        is_host_well: Callable[[], bool],
        *,
        restarts_before: int = 0,
        clock: Callable[[], float],
        probe_s: float = 0.5,
        probe: Prober = http_probe,
        count_ends: Callable[[str, int], float | None] = worker_ends,
    ) -> None:
        self.module = module
        self.trouble: str | None = None
        self._view = view
        self._is_host_well = is_host_well
        self._restarts = restarts_before
        self._clock = clock
        self._probe_s = min(probe_s, module.probe.interval_s)
        self._probe = probe
        self._end = clock() + module.update.watch_s
        self._next_probe = 0.0
        self._count_ends = count_ends
        self._next_count = 0.0
        self._ends: float | None = None
        self._failed_at: list[float] = []
        self._is_silent = False
        self._silent_until = 0.0
        self._away_since: float | None = None

    def was_restarted(self) -> None:
        """Someone asked for a restart: that is no end."""
        self._restarts += 1

    def look(self) -> str | None:
        """What brings the old version back; None: nothing. Once there is something, it stays."""
        if self.trouble is None:
            found = self._seen() or self._silence() or self._inner_ends()
            if found is not None and self._is_host_well():
                self.trouble = found
        return self.trouble

    @property
    def is_passed(self) -> bool:
        """The time is over, and it is well."""
        is_well = self._view().health == "healthy" and not self._is_silent
        return self.trouble is None and is_well and self._clock() >= self._end

    def _seen(self) -> str | None:
        """What the keeper saw; nothing while the host fails it."""
        view, now = self._view(), self._clock()
        if not view.is_host_away or not self._is_host_well():
            self._away_since = None
        elif self._away_since is None:
            self._away_since = now
        if view.is_host_away and (self._away_since is None or now - self._away_since < HOST_S):
            return None
        return trouble(view, self._restarts)

    def _silence(self) -> str | None:
        view, now, probe = self._view(), self._clock(), self.module.probe
        if view.port is None:
            late_s = now - self._end - probe.start_s
            return "it does not say where it answers" if late_s > 0 else None
        if view.is_host_away:  # an engine that ends takes it along; then it begins anew
            self._silent_until = now + self.module.update.start_s
        if now < self._next_probe:
            return None
        error = self._probe(self._address, view.port, probe.path, probe.timeout_s)
        self._next_probe = self._clock() + self._probe_s
        self._is_silent = error is not None
        if error is None:
            self._silent_until = 0.0
            return None
        if now < self._silent_until:
            self._failed_at = []
            return None
        self._failed_at = [*(at for at in self._failed_at if now - at < RECENT_S), now]
        is_enough = len(self._failed_at) >= max(1, probe.failures)
        return f"it is not well: {error}" if is_enough else None

    def _inner_ends(self) -> str | None:
        """Of the processes in the instance."""
        view, now = self._view(), self._clock()
        if view.port is None or now < self._next_count:
            return None
        self._next_count = now + ENDS_EVERY_S
        count = self._count_ends(self._address, view.port)
        if count is None:
            return None
        if self._ends is None or count < self._ends:  # it was started anew
            self._ends = count
        if count - self._ends < ENDS:
            return None
        return f"{count - self._ends:g} of its processes ended (out of memory, or a crash)"

    @property
    def _address(self) -> str:
        return self.module.address if self.module.port else "127.0.0.1"


def trouble(view: LiveView, restarts_before: int) -> str | None:
    """Of what the keeper saw. Pure."""
    if view.restarts > restarts_before or view.health == "stopped":
        if view.is_out_of_memory:
            return "it was killed: out of memory"
        if view.exit_code is not None:
            return f"it ended with exit code {view.exit_code}"
        return f"it ended: {view.error or 'nobody knows how'}"
    if view.health == "unhealthy":
        return f"it is unhealthy: {view.error or 'no answer'}"
    return None
