"""Several blobs at a time: the first failure stops the others, and is what the caller sees."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

OnBytes = Callable[[int], None]
Job = Callable[[], None]


class Transfer:
    """One operation's progress and its end. ``on_bytes`` is called by one thread at a time, and
    may raise to stop it all."""

    def __init__(self, on_bytes: OnBytes, cancelled: Callable[[], bool] | None = None) -> None:
        self._on_bytes = on_bytes
        self._cancelled = cancelled
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._failures: list[BaseException] = []

    def count(self, size_bytes: int) -> None:
        """So many more bytes are done."""
        with self._lock:
            self._on_bytes(size_bytes)

    def is_stopped(self) -> bool:
        """Whether it was cancelled, or failed elsewhere."""
        return self._stopped.is_set() or (self._cancelled is not None and self._cancelled())

    def run(self, jobs: Sequence[Job], width: int) -> None:
        """All jobs, ``width`` at a time. Raises the first failure once all have ended."""
        if not jobs:
            return
        with ThreadPoolExecutor(width, thread_name_prefix="blob") as threads:
            futures = [threads.submit(self._guarded, job) for job in jobs]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            except BaseException:  # Ctrl-C
                self._stopped.set()
                raise
            finally:
                if self._failures:
                    threads.shutdown(wait=False, cancel_futures=True)
        if self._failures:
            raise self._failures[0]

    def _guarded(self, job: Job) -> None:
        try:
            job()
        except BaseException as error:
            self._failures.append(error)
            self._stopped.set()
            raise


class Watermark:
    """Counts each byte of one blob once, however often it is sent or received again."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._done = 0
        self._highest = 0

    def start_at(self, offset: int) -> None:
        """The transfer begins, perhaps again, at this byte."""
        self._done = offset

    def add(self, size_bytes: int) -> None:
        """So many more bytes went by."""
        self._done += size_bytes
        if self._done > self._highest:
            new, self._highest = self._done - self._highest, self._done
            self._transfer.count(new)
