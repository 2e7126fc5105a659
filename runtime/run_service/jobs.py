"""Runs in threads of the service's own: who asks gets the run as soon as there is one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from registry.tracking import RunRecord
from runtime.workspace_service.faults import Fault

MOST = 16
"""At once, pipelines and scripts together; each takes a thread and what its script needs."""
END_S = 15.0
"""For what runs, once the service ends."""
OnBegin = Callable[[RunRecord], None]
_log = logging.getLogger(__name__)


class RunJobs:
    """Those of one service."""

    def __init__(self, most: int = MOST) -> None:
        self._free = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._begun: dict[str, Future[RunRecord]] = {}
        self._threads: set[threading.Thread] = set()

    def start(
        self,
        key: str,
        work: Callable[[OnBegin], object],
        find: Callable[[], RunRecord | None] = lambda: None,
    ) -> RunRecord:
        """The run that ``work`` begins, which it tells of. Of what goes on under this ``key``, the
        same run once more; of what has ended, what ``find`` finds. Raises what ``work`` raises
        before there is a run, and Fault 503 when as many go on as may."""
        with self._lock:
            begun = self._begun.get(key)
            if begun is None:
                found = find()
                if found is not None:
                    return found
                begun = self._started(key, work)
        return begun.result()

    def has(self, key: str) -> bool:
        """Whether it goes on."""
        with self._lock:
            return key in self._begun

    def close(self) -> None:
        """Waits for what runs, but not for ever: who is told to end may not."""
        deadline = time.monotonic() + END_S
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _started(self, key: str, work: Callable[[OnBegin], object]) -> Future[RunRecord]:
        if not self._free.acquire(blocking=False):
            raise Fault(
                503,
                "too_many_runs",
                "the service runs as much as it can at once; try again in a while",
                {"Retry-After": "30"},
            )
        begun: Future[RunRecord] = Future()
        thread = threading.Thread(
            target=self._run, args=(key, work, begun), name=f"run {key[-12:]}", daemon=True
        )
        self._begun[key] = begun
        self._threads.add(thread)
        thread.start()
        return begun

    def _run(self, key: str, work: Callable[[OnBegin], object], begun: Future[RunRecord]) -> None:
        def begin(run: RunRecord) -> None:
            with suppress(Exception):  # told twice, as by who runs several
                begun.set_result(run)

        try:
            work(begin)
            if not begun.done():
                begun.set_exception(RuntimeError("the work had no run"))
        except BaseException as error:
            if not begun.done():
                begun.set_exception(error)
            else:
                _log.error("a run ended with an error of its own", exc_info=error)
        finally:
            with self._lock:
                del self._begun[key]
                self._threads.discard(threading.current_thread())
            self._free.release()
