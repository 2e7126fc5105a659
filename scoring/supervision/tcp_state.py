"""What the kernel knows of a TCP connection: how many bytes its process has taken and given.

A process that dies leaves its connections open when somebody else holds a copy of them. Whether one
can go on in another process is a question of bytes: were all that had been taken out of the kernel
answered, and did all of the answers reach the kernel? The process writes down what it saw
(scoring/supervision/board.py); this file asks the kernel, whose word is final.

    is_intact(fd, consumed=120, written=300)    # False: something is lost, or the kernel can't say

Linux only; elsewhere, for other sockets and under a kernel that gives no TCP_INFO, it is False.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from typing import NamedTuple

_COUNTERS_AT = 120
"""Offset of tcpi_bytes_acked in struct tcp_info (linux/tcp.h); tcpi_bytes_received follows it."""
_COUNTERS = struct.Struct("=QQ")
_TCP_INFO_BYTES = _COUNTERS_AT + _COUNTERS.size
_SIOCOUTQ = termios.TIOCOUTQ
_TRIES = 8


class Moved(NamedTuple):
    """Bytes that have gone through a socket in its whole life."""

    consumed: int
    """Read by this machine's process; a FIN that has arrived counts as one."""
    written: int
    """Given to the kernel by this machine's process."""


def is_intact(fd: int, *, consumed: int, written: int) -> bool:
    """True only when the kernel's counts of connection ``fd`` are exactly these."""
    return moved(fd) == (consumed, written)


def moved(fd: int) -> Moved | None:
    """The kernel's counts of connection ``fd``; None when it cannot say."""
    connection = socket.socket(fileno=fd)
    try:
        return _moved(connection)
    except (OSError, struct.error):
        return None
    finally:
        connection.detach()


def _moved(connection: socket.socket) -> Moved | None:
    """Bytes arrive while we look: only two equal readings around the queues fit together."""
    before = _acked_and_received(connection)
    for _ in range(_TRIES):
        unread = _queued(connection.fileno(), termios.FIONREAD)
        unacked = _queued(connection.fileno(), _SIOCOUTQ)
        after = _acked_and_received(connection)
        if before == after:
            acked, received = after
            return Moved(received - unread, acked + unacked)
        before = after
    return None


def _acked_and_received(connection: socket.socket) -> tuple[int, int]:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    acked, received = _COUNTERS.unpack_from(info, _COUNTERS_AT)
    return acked, received


def _queued(fd: int, request: int) -> int:
    answer = fcntl.ioctl(fd, request, b"\0\0\0\0")
    return int(struct.unpack("=i", answer)[0])
