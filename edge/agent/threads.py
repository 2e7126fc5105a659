"""The threads of an agent. One that dies is begun again, and everyone can see that it died."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)
FIRST_WAIT_S = 1.0
LAST_WAIT_S = 60.0
CALM_S = 300.0
"""After so long without a death the wait begins anew."""

Work = Callable[[threading.Event], None]
"""Goes on until the event is set."""


class Crew:
    """Threads that work until ``stop``. Each gets the event that says when."""

    def __init__(
        self,
        *,
        on_death: Callable[[str, str], None] = lambda name, cause: None,
        first_wait_s: float = FIRST_WAIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stopping = threading.Event()
        self.deaths = 0
        self._on_death = on_death
        self._first_wait_s = first_wait_s
        self._clock = clock
        self._threads: list[threading.Thread] = []

    def add(self, name: str, work: Work) -> None:
        """Begin ``work``, and again after each death. A return before the end is a death too."""
        thread = threading.Thread(target=self._keep, args=(name, work), name=name, daemon=True)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(thread)
        thread.start()

    def stop(self, deadline_s: float) -> list[str]:
        """Ask all to end, and wait so long (monotonic time); the names of those that did not."""
        self.stopping.set()
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - self._clock()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _keep(self, name: str, work: Work) -> None:
        wait_s = self._first_wait_s
        while not self.stopping.is_set():
            began = self._clock()
            try:
                work(self.stopping)
                cause = "it returned"
            except Exception as error:
                cause = f"{type(error).__name__}: {error}"
                log.debug("%s died", name, exc_info=True)
            if self.stopping.is_set():
                return
            if self._clock() - began >= CALM_S:
                wait_s = self._first_wait_s
            self.deaths += 1
            log.error("%s died (%s); it begins again in %g s", name, cause[:300], wait_s)
            try:
                self._on_death(name, cause)
            except Exception:  # to tell of it must not end us for good
                log.exception("the death of %s could not be told", name)
            self.stopping.wait(wait_s)
            wait_s = min(wait_s * 2, LAST_WAIT_S)


def within(seconds: float, what: str, work: Callable[[], object]) -> bool:
    """Whether ``work`` was done in that time; what takes longer is left to itself."""
    thread = threading.Thread(target=work, name=f"end of {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        log.warning("%s does not end within %g s", what, seconds)
    return not thread.is_alive()
