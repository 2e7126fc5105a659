"""The supervisor's end of a link: it never blocks, and keeps the order of what it sends."""

from __future__ import annotations

import array
import errno
import socket
from collections import deque
from collections.abc import Iterator, Sequence

from scoring.supervision.link_messages import (
    MAX_MESSAGE_BYTES,
    ToChild,
    ToParent,
    decode_to_parent,
    encode,
)

_MESSAGES_PER_WAKEUP = 256
_SEND_LATER = {errno.EAGAIN, errno.EINTR, errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM}
"""ETOOMANYREFS: too many descriptors are on their way (the kernel allows RLIMIT_NOFILE)."""


class ChildLink:
    """Messages to and from one child."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._unsent: deque[tuple[bytes, array.array[int]]] = deque()
        self.is_open = True
        """False after the child closed its end, which it does when it leaves."""

    def fileno(self) -> int:
        """For selectors."""
        return self._link.fileno()

    @property
    def has_unsent(self) -> bool:
        """Something waits until the child has read; call ``flush`` then."""
        return bool(self._unsent)

    def send(self, message: ToChild, fds: Sequence[int] = ()) -> None:
        """Send it now or, in order, later. The descriptors must stay open until it was sent."""
        if self.is_open:
            self._unsent.append((encode(message), array.array("i", fds)))
            if len(self._unsent) == 1:
                self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the child has room."""
        while self._unsent:
            packet, fds = self._unsent[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else []
            try:
                self._link.sendmsg([packet], rights)
            except OSError as error:
                if error.errno not in _SEND_LATER:
                    self._unsent.clear()  # the child is dead, and will be reaped
                return
            self._unsent.popleft()

    def receive(self, *, at_most: int = _MESSAGES_PER_WAKEUP) -> Iterator[ToParent]:
        """The messages that have arrived; ``is_open`` turns False at the end of all."""
        for _ in range(at_most):
            try:
                packet = self._link.recv(MAX_MESSAGE_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionResetError:  # said once; what was sent before it is still to be read
                continue
            if not packet:
                self.is_open = False
                self._unsent.clear()
                return
            yield decode_to_parent(packet)

    def close(self) -> None:
        """Nothing more is sent or received."""
        self.is_open = False
        self._unsent.clear()
        self._link.close()
