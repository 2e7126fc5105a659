"""Where connections come in: listening sockets, watched while there is room and who serves.

What is not accepted waits in the kernel's backlog; nobody is refused for want of a descriptor.
"""

from __future__ import annotations

import contextlib
import logging
import resource
import selectors
import socket
from collections.abc import Sequence
from functools import partial

from scoring.supervision.connections import Connections, OutOfDescriptorsError
from scoring.supervision.timers import Timers

logger = logging.getLogger("scoring.supervision.supervisor")

_ACCEPTS_PER_WAKEUP = 64
_LAST_ACCEPTS = 4096
_STARVED_S = 0.1
_RESERVED_DESCRIPTORS = 256
_ENOUGH = 1 << 20


class Door:
    """The listeners, which are made non-blocking."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        connections: Connections,
        selector: selectors.BaseSelector,
        timers: Timers,
    ) -> None:
        self._listeners = listeners
        self._connections = connections
        self._selector = selector
        self._timers = timers
        self._is_open = False
        self._is_starved = False
        for listener in listeners:
            listener.setblocking(False)

    def set_open(self, is_wanted: bool) -> None:
        """Accept from now on, or not. Full tables and a lack of descriptors keep it shut."""
        is_open = is_wanted and not self._is_starved and not self._connections.table.is_full
        if is_open == self._is_open:
            return
        self._is_open = is_open
        for number, listener in enumerate(self._listeners):
            if is_open:
                accept = partial(self._accept, number, _ACCEPTS_PER_WAKEUP)
                self._selector.register(listener, selectors.EVENT_READ, accept)
            else:
                self._selector.unregister(listener)

    def accept_rest(self) -> None:
        """Accept all who have connected, before it is closed for good."""
        for number in range(len(self._listeners)):
            self._accept(number, _LAST_ACCEPTS)

    def close(self) -> None:
        """For good. (In a forked child ``close_copies`` instead.)"""
        self.set_open(False)
        self.close_copies()

    def close_copies(self) -> None:
        """Close the sockets, without a word to the selector."""
        for listener in self._listeners:
            listener.close()

    def _accept(self, number: int, at_most: int, events: int = 0) -> None:
        if not self._is_open:  # shut in this very turn
            return
        try:
            self._connections.accept(self._listeners[number], number, at_most=at_most)
        except OutOfDescriptorsError as error:
            logger.warning("cannot accept a connection now: %s", error.strerror)
            self._is_starved = True
            self._timers.after(_STARVED_S, self._end_starving)

    def _end_starving(self) -> None:
        self._is_starved = False


def raise_descriptor_limit() -> int:
    """Allow this process all the descriptors it may have; returns how many connections fit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _ENOUGH if hard == resource.RLIM_INFINITY else hard
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(limit - _RESERVED_DESCRIPTORS, limit // 2)
