"""What a client has not taken yet of what was written to it."""

from __future__ import annotations

import asyncio
import fcntl
import termios


def unsent_bytes(transport: asyncio.Transport) -> int:
    """Bytes that wait in the transport and in the kernel: those that the client's machine has not
    acknowledged (SIOCOUTQ, tcp(7)). 0 of a socket that is closed, or does not know."""
    waiting = transport.get_write_buffer_size()
    if waiting:
        return waiting
    connection = transport.get_extra_info("socket")
    if connection is None:
        return 0
    try:
        said = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    except (OSError, ValueError):
        return 0
    return int.from_bytes(said, "little")
