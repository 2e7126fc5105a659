"""Images made ready on a host, each in a thread of its own: a large one takes minutes, and ticks go
on meanwhile, as a replica that was started again must be routed to its new port.

preparing = Preparing(host)
preparing.delay("sha256:...", now_s)        # None: it is ready to start
preparing.is_under_way("sha256:...")
preparing.close()
"""

from __future__ import annotations

import threading

from edge.errors import EdgeError
from edge.hosts.port import ModuleHost

RETRY_S, DOUBT_S = 5.0, 30.0
"""Until an image is prepared again that could not be, and one that was."""
SOON_S = 0.25
"""What takes no longer is waited for."""
UNDER_WAY = "its image is made ready"


class _Try:
    """One image. ``wrong``: why it is not ready, once ``is_done``."""

    def __init__(self, began_s: float, *, is_first: bool) -> None:
        self.began_s, self.is_first = began_s, is_first
        self.is_done = threading.Event()
        self.wrong: str | None = None


class Preparing:
    """Of one deployment. Not for several threads at once."""

    def __init__(self, host: ModuleHost) -> None:
        self._host = host
        self._tries: dict[str, _Try] = {}
        self._ready: set[str] = set()
        self._closing = threading.Event()

    def __repr__(self) -> str:
        return f"Preparing({len(self._ready)} images are ready)"

    def delay(self, digest: str, now_s: float, *, is_doubted: bool = False) -> str | None:
        """Why it is not ready to start; begins, or tries again, what makes it so. ``now_s``:
        monotonic; ``is_doubted``: replicas of it do not run, so that somebody may have removed what
        was ready."""
        found = self._tries.get(digest)
        if found is None or self._is_due(digest, found, now_s, is_doubted=is_doubted):
            found = self._begin(digest, now_s)
        if not found.is_done.is_set():
            return None if digest in self._ready else UNDER_WAY
        if found.wrong is None:
            self._ready.add(digest)
        else:
            self._ready.discard(digest)
        return found.wrong

    def is_under_way(self, digest: str) -> bool:
        """For the first time."""
        found = self._tries.get(digest)
        return found is not None and found.is_first and not found.is_done.is_set()

    def close(self) -> None:
        """What has begun is told to end, and not waited for. Idempotent."""
        self._closing.set()

    def _is_due(self, digest: str, found: _Try, now_s: float, *, is_doubted: bool) -> bool:
        if not found.is_done.is_set():
            return False
        if found.wrong is not None:
            return now_s - found.began_s >= RETRY_S
        return is_doubted and now_s - found.began_s >= DOUBT_S

    def _begin(self, digest: str, now_s: float) -> _Try:
        found = self._tries[digest] = _Try(now_s, is_first=digest not in self._tries)
        threading.Thread(
            target=self._run, args=(digest, found), name=f"preparing of {digest[:19]}", daemon=True
        ).start()
        found.is_done.wait(SOON_S)
        return found

    def _run(self, digest: str, found: _Try) -> None:
        try:
            self._host.prepare(digest, self._closing.is_set)
        except EdgeError as error:
            found.wrong = str(error)
        except Exception as error:  # or the revision would wait for ever
            found.wrong = f"its image cannot be made ready: {type(error).__name__}: {error}"
        finally:
            found.is_done.set()
