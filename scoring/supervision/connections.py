"""The supervisor's copy of every open connection, and who serves it.

A connection stays open while its process and we have it. So a process can let go of one that is
idle, on purpose or by dying, and another goes on with it; the client sees nothing of that. Only
when we close our copy does the client get its FIN.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Mapping

from scoring.supervision.board import BUSY, CELL_WORDS, CONSUMED, WRITTEN, Board
from scoring.supervision.child_link import ChildLink
from scoring.supervision.connection_table import ConnectionTable, least_loaded
from scoring.supervision.link_messages import MAX_FDS, Take
from scoring.supervision.tcp_state import is_intact

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_TRY_NEXT = {errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EINTR, errno.ENETDOWN}


class OutOfDescriptorsError(OSError):
    """The process or the machine has no descriptor or memory for one more connection."""


class Connections:
    """Sockets by slot; ``table`` says who has them."""

    def __init__(self, board: Board, capacity: int) -> None:
        self.table = ConnectionTable(capacity)
        self._board = board
        self._fds: dict[int, int] = {}
        self._listeners: dict[int, int] = {}

    def accept(self, listener: socket.socket, number: int, *, at_most: int) -> None:
        """Accept what waits at listener ``number``; ``distribute`` passes it on.

        Raises OutOfDescriptorsError."""
        for _ in range(at_most):
            if self.table.is_full:
                return
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _TRY_NEXT:
                    continue
                raise OutOfDescriptorsError(error.errno, error.strerror) from error
            slot = self.table.open(None)
            self._board.reset_cell(slot)
            self._fds[slot] = connection.detach()
            self._listeners[slot] = number

    def distribute(self, links: Mapping[int, ChildLink]) -> None:
        """Pass every connection that nobody has to the child with the fewest."""
        waiting = self.table.waiting()
        if not waiting or not links:
            return
        counts = self.table.counts(links)
        shares: dict[int, list[int]] = {}
        for slot in waiting:
            child = least_loaded(counts)
            assert child is not None
            counts[child] += 1
            self.table.give(slot, child)
            shares.setdefault(child, []).append(slot)
        for child, slots in shares.items():
            for start in range(0, len(slots), MAX_FDS):
                self._pass(links[child], slots[start : start + MAX_FDS])

    def closed(self, slot: int, child: int) -> None:
        """The child closed it: so do we, which ends it."""
        if self.table.owner(slot) == child:
            self._close(slot)

    def released(self, slot: int, child: int) -> None:
        """The child let go of it: nobody has it now."""
        if self.table.owner(slot) == child:
            self.table.give(slot, None)

    def child_died(self, child: int) -> None:
        """Its idle connections have nobody now; those that lost something are reset."""
        for slot in self.table.drop_owner(child):
            if not self._is_idle_and_intact(slot):
                self._reset(slot)

    def close_waiting(self) -> None:
        """Close those that nobody has."""
        for slot in self.table.waiting():
            self._close(slot)

    def close_copies(self) -> None:
        """In a forked child: our copies are not its; the connections live on."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def _pass(self, link: ChildLink, slots: list[int]) -> None:
        take = Take(slots, [self._listeners[slot] for slot in slots])
        link.send(take, [self._fds[slot] for slot in slots])

    def _is_idle_and_intact(self, slot: int) -> bool:
        start = slot * CELL_WORDS
        cell = self._board.cells[start : start + CELL_WORDS]
        return not cell[BUSY] and is_intact(
            self._fds[slot], consumed=cell[CONSUMED], written=cell[WRITTEN]
        )

    def _reset(self, slot: int) -> None:
        """So that an answer cut short is not taken for a whole one."""
        connection = socket.socket(fileno=self._fds[slot])
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        connection.detach()
        self._close(slot)

    def _close(self, slot: int) -> None:
        self.table.close(slot)
        del self._listeners[slot]
        os.close(self._fds.pop(slot))
