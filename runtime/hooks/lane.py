"""A worker with a bounded queue: one job after the other, in a thread that is there while there is
something to do."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

MOST = 32
logger = logging.getLogger("inferry.deployments")
Job = Callable[[], None]


class Lane:
    """``put`` never waits. Jobs see to their own end; ``stopping`` says when it is near."""

    def __init__(self, name: str, *, most: int = MOST) -> None:
        self._name, self._most = name, most
        self._guard = threading.Lock()
        self._jobs: deque[Job] = deque()
        self._thread: threading.Thread | None = None
        self.stopping = threading.Event()

    def __repr__(self) -> str:
        return f"Lane({self._name}, {len(self._jobs)} wait)"

    def put(self, job: Job) -> bool:
        """False where too many wait already, or no thread can be had: it is not done then."""
        with self._guard:
            if self.stopping.is_set() or len(self._jobs) >= self._most:
                return False
            self._jobs.append(job)
            if self._thread is not None:
                return True
            # A daemon: a name that no server resolves must not hold up the controller's end.
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                self._jobs.pop()
                return False
            self._thread = thread
            return True

    def stop(self) -> list[Job]:
        """What waits is not done any more, and returned; what is being done should end soon."""
        with self._guard:
            self.stopping.set()
            left = list(self._jobs)
            self._jobs.clear()
            return left

    def join(self, wait_s: float) -> None:
        """Until nothing is being done, or for so long."""
        thread = self._thread
        if thread is not None:
            thread.join(wait_s)

    def _run(self) -> None:
        while True:
            with self._guard:
                if not self._jobs:
                    self._thread = None
                    return
                job = self._jobs.popleft()
            try:
                job()
            except Exception:
                logger.exception("%s", self._name)
