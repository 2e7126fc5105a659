"""The worker's end of the socket: blocking reads and writes of whole frames.

A small frame costs one system call either way: the header and the body of what has come in are cut
out of one buffer.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from scoring import frames

_SMALL = 64 * 1024
"""Up to here one system call for all beats not copying."""


class Closed(Exception):
    """The server has closed its end: time to go."""


class Channel:
    """One frame at a time. What is sent answers what was received last, so it has its ticket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray(_SMALL)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self.ticket = 0

    def receive(self) -> tuple[frames.Message, bytes | bytearray]:
        """The next frame. Raises Closed."""
        message, body_bytes = self.receive_head()
        return message, self.take(body_bytes)

    def receive_head(self) -> tuple[frames.Message, int]:
        """The next frame's message and the size of its body, which must be taken next."""
        self._fill(frames.PREFIX.size)
        header_bytes, body_bytes, self.ticket = frames.sizes(self._buffer, self._start)
        self._start += frames.PREFIX.size
        return frames.decode_header(self.take(header_bytes)), body_bytes

    def take(self, size: int) -> bytes | bytearray:
        """The next ``size`` bytes. Raises Closed."""
        if self._end - self._start < size:
            if size > _SMALL:
                return self._take_large(size)
            self._fill(size)
        start = self._start
        self._start += size
        return bytes(self._view[start : self._start])

    def send(self, message: frames.Message, body: bytes = b"") -> None:
        """One whole frame. Raises Closed."""
        if len(body) <= _SMALL:
            self._send(frames.encode(message, body, self.ticket))
        else:
            self._send(frames.head(message, len(body), self.ticket))
            self._send(body)

    def send_all(self, answers: Sequence[tuple[frames.Message, bytes]]) -> None:
        """Several frames at once. Raises Closed."""
        if sum(len(body) for _, body in answers) > _SMALL:
            for message, body in answers:
                self.send(message, body)
            return
        self._send(b"".join(frames.encode(*answer, self.ticket) for answer in answers))

    def _fill(self, size: int) -> None:
        """Have at least ``size`` (<= _SMALL) bytes in the buffer, in one piece."""
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start + size > _SMALL:
            left = self._end - self._start
            self._view[:left] = self._view[self._start : self._end]
            self._start, self._end = 0, left
        while self._end - self._start < size:
            self._end += self._receive_into(self._view[self._end :])

    def _take_large(self, size: int) -> bytearray:
        """Straight into its own memory, but for what is in the buffer already."""
        body = bytearray(size)
        have = self._end - self._start
        body[:have] = self._view[self._start : self._end]
        self._start = self._end = 0
        with memoryview(body) as view:
            while have < size:
                have += self._receive_into(view[have:], socket.MSG_WAITALL)
        return body

    def _receive_into(self, view: memoryview, flags: int = 0) -> int:
        try:
            received = self._socket.recv_into(view, 0, flags)
        except OSError as error:  # also EBADF: this is a child that the script has forked
            raise Closed from error
        if not received:
            raise Closed
        return received

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Closed from error
