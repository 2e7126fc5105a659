"""What takes long and is done for a client, in threads of the service's own: the client gets the
activity at once and looks at that."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable

from registry.activities import Activity, OnChange
from registry.errors import CancelledError
from runtime.workspace_service.faults import Fault

MOST = 4
"""At once; each may use all of the machine."""


class Jobs:
    """Those of one service. They end with it: what is cut so is as one whose process was killed."""

    def __init__(self, closing: threading.Event, most: int = MOST) -> None:
        self._closing = closing
        self._free = threading.BoundedSemaphore(most)

    def start(self, work: Callable[[OnChange], object]) -> Activity:
        """The activity that ``work`` begins, which it tells of its changes. Raises what it raises
        before that, and Fault 503 when as many run as may."""
        if not self._free.acquire(blocking=False):
            raise Fault(
                503,
                "too_many_jobs",
                "the service does as much as it can at once; try again in a while",
                {"Retry-After": "30"},
            )
        begun: queue.SimpleQueue[Activity | BaseException] = queue.SimpleQueue()
        # With the context of who asked: what is begun knows what it was begun with.
        run = contextvars.copy_context().run
        thread = threading.Thread(
            target=run, args=(self._run, work, begun), name="job", daemon=True
        )
        thread.start()
        first = begun.get()
        if isinstance(first, BaseException):
            raise first
        return first

    def _run(
        self,
        work: Callable[[OnChange], object],
        begun: queue.SimpleQueue[Activity | BaseException],
    ) -> None:
        has_begun = False

        def on_change(activity: Activity) -> None:
            nonlocal has_begun
            if not has_begun:
                has_begun = True
                begun.put(activity)
            if activity.is_running and self._closing.is_set():
                raise CancelledError("the service ends")

        try:
            work(on_change)
        except BaseException as error:
            begun.put(error)
        else:
            begun.put(RuntimeError("the work had no activity"))
        finally:
            self._free.release()
