"""Finds damaged blobs among those that are pulled.

A client verifies what it pulls, so a pull does not wait for us: the blob is hashed in a thread
behind it, once per process and file (size and time). From then on a damaged one is refused with a
clear error instead of being sent in vain, and is said not to be there to who wants to push it.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import OrderedDict

from registry.blobs import BlobStore
from registry.errors import DamagedBlobError, RegistryError

MAX_KNOWN = 10_000
_File = tuple[int, int]


class DamageWatch:
    """Which blobs are known to be damaged."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._known: OrderedDict[str, _File] = OrderedDict()
        self._damaged: dict[str, _File] = {}
        self._todo: queue.Queue[str] = queue.Queue()
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None

    def is_damaged(self, digest: str, status: os.stat_result) -> bool:
        """Whether it is known to be; one that nobody looked at is looked at, later."""
        file = (status.st_size, status.st_mtime_ns)
        with self._lock:
            if self._damaged.get(digest) == file:
                return True
            if self._known.get(digest) != file:
                self._known[digest] = file
                self._known.move_to_end(digest)
                while len(self._known) > MAX_KNOWN:
                    self._damaged.pop(self._known.popitem(last=False)[0], None)
                self._todo.put(digest)
                self._start()
        return False

    def wait(self) -> None:
        """Until all that is to be looked at was looked at."""
        self._todo.join()

    def _start(self) -> None:
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name="damage", daemon=True)
            self._worker.start()

    def _work(self) -> None:
        while True:
            digest = self._todo.get()
            try:
                for _ in self._store.chunks(digest):
                    pass
            except DamagedBlobError:
                with self._lock:
                    self._damaged[digest] = self._known.get(digest, (-1, -1))
            except (RegistryError, OSError):
                pass  # the disk has a bad time; its reader is told
            finally:
                self._todo.task_done()
