"""Replicas that go: first they get nothing more and finish, then they are stopped.

leaving = Leaving(host)
leaving.add("web.1.a1b2c3", 1, address="127.0.0.1", port=41733, keeper=keeper, now_s=now_s)
leaving.places()                  # those that still finish what they have
leaving.stop("web.1.a1b2c3", 35)  # returns at once; a thread of its own waits for the end
leaving.reap()                    # forgets those that are gone

To stop one takes as long as its server lets its last requests take: no tick waits for that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from edge.errors import EdgeError
from edge.hosts.port import InstanceId, ModuleHost
from edge.keeping.keeper import LiveKeeper

RETRY_S = 2.0
"""After a host that could not stop it."""
KEEPER_S = 60.0
"""For a keeper to finish what it has begun, as a start, before its replica is stopped."""
Place = tuple[int, str, int]
"""Revision, address and port."""


@dataclass(frozen=True, slots=True)
class Leaver:
    """As it is seen. ``since_s``: when it began to go; ``is_stopping``: it was told to end."""

    id: str
    revision: int
    address: str
    port: int | None
    since_s: float
    is_stopping: bool
    trouble: str | None


@dataclass(slots=True)
class _Kept:
    """``trouble``: of the last try to stop it."""

    revision: int
    address: str
    port: int | None
    keeper: LiveKeeper | None
    since_s: float
    stopper: threading.Thread | None = None
    is_gone: bool = False
    trouble: str | None = None


class Leaving:
    """Of one deployment on one host. Not for several threads at once; those that it starts only
    tell whether one is gone."""

    def __init__(self, host: ModuleHost) -> None:
        self._host = host
        self._kept: dict[str, _Kept] = {}
        self._closing = threading.Event()

    def __repr__(self) -> str:
        return f"Leaving({sorted(self._kept)})"

    def __contains__(self, id: object) -> bool:
        return id in self._kept

    def add(
        self,
        id: str,
        revision: int,
        *,
        address: str,
        port: int | None,
        keeper: LiveKeeper | None,
        now_s: float,
    ) -> None:
        """It gets nothing more from now on. ``keeper``: it ends, so that nobody starts the replica
        again; ``port``: None where it does not answer. Nothing where it goes already."""
        if keeper is not None:
            keeper.close(0)
        self._kept.setdefault(id, _Kept(revision, address, port, keeper, now_s))

    def all(self) -> list[Leaver]:
        """By id."""
        return [
            Leaver(
                id,
                each.revision,
                each.address,
                each.port,
                each.since_s,
                each.stopper is not None,
                each.trouble,
            )
            for id, each in sorted(self._kept.items())
        ]

    def places(self) -> Mapping[str, Place]:
        """Of those that finish what they have: whoever balances sends them nothing more."""
        return {
            id: (each.revision, each.address, each.port)
            for id, each in self._kept.items()
            if each.port is not None and each.stopper is None
        }

    def stop(self, id: str, grace_s: float) -> None:
        """End it, in a thread of its own; tried until the host does it. Idempotent."""
        kept = self._kept[id]
        if kept.stopper is None:
            kept.stopper = threading.Thread(
                target=self._stop, args=(id, kept, grace_s), name=f"end of {id}", daemon=True
            )
            kept.stopper.start()

    def reap(self) -> None:
        """Forget those that are gone."""
        self._kept = {id: each for id, each in self._kept.items() if not each.is_gone}

    def close(self, timeout_s: float) -> None:
        """Wait so long for those that are being stopped. Who is not done then ends by itself, as it
        was told to, or is found by the next controller."""
        self._closing.set()
        deadline = time.monotonic() + timeout_s
        for kept in self._kept.values():
            for thread in (kept.stopper, kept.keeper):
                left_s = max(0.0, deadline - time.monotonic())
                if isinstance(thread, threading.Thread):
                    thread.join(left_s)
                elif thread is not None:
                    thread.close(left_s)

    def _stop(self, id: str, kept: _Kept, grace_s: float) -> None:
        while kept.keeper is not None and not kept.keeper.close(KEEPER_S):
            kept.trouble = "what starts it does not end"
            if self._closing.is_set():
                return
        while True:
            try:
                self._host.stop(InstanceId(id, "live"), grace_s)
                kept.is_gone = True
                return
            except EdgeError as error:
                kept.trouble = str(error)
            if self._closing.wait(RETRY_S):
                return
