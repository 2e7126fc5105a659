"""The worker's end of the socket: blocking reads and writes of whole frames.

A small frame costs one system call either way: the header and the body of what has come in are cut
out of one buffer.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from scoring.script import frames

_SMALL = 64 * 1024
"""Up to here one system call for all beats not copying."""


class Closed(Exception):
    """The server has closed its end: time to go."""


class Channel:
    """One frame at a time. What is sent answers what was received last, so it has its ticket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._data = b""
        self._at = 0
        self.ticket = 0

    def receive(self) -> tuple[frames.Message, bytes | bytearray]:
        """The next frame. Raises Closed."""
        message, body_bytes = self.receive_head()
        return message, self.take(body_bytes)

    def receive_head(self) -> tuple[frames.Message, int]:
        """The next frame's message and the size of its body, which must be taken next."""
        prefix = self.take(frames.PREFIX.size)
        header_bytes, body_bytes, self.ticket = frames.sizes(prefix)
        return frames.decode_header(self.take(header_bytes)), body_bytes

    def take(self, size: int) -> bytes | bytearray:
        """The next ``size`` bytes. Raises Closed."""
        end = self._at + size
        if end > len(self._data):
            if size > _SMALL:
                return self._take_large(size)
            self._fill(size)
            end = size
        taken = self._data[self._at : end]
        self._at = end
        return taken

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
        """Have at least ``size`` (<= _SMALL) bytes, from the start of ``_data``."""
        self._data, self._at = self._data[self._at :], 0
        while len(self._data) < size:
            try:
                received = self._socket.recv(_SMALL)
            except OSError as error:  # also EBADF: this is a child that the script has forked
                raise Closed from error
            if not received:
                raise Closed
            self._data = self._data + received if self._data else received

    def _take_large(self, size: int) -> bytearray:
        """Straight into its own memory, but for what is here already."""
        body = bytearray(size)
        have = len(self._data) - self._at
        body[:have] = self._data[self._at :]
        self._data, self._at = b"", 0
        with memoryview(body) as view:
            while have < size:
                try:
                    received = self._socket.recv_into(view[have:], 0, socket.MSG_WAITALL)
                except OSError as error:
                    raise Closed from error
                if not received:
                    raise Closed
                have += received
        return body

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Closed from error
