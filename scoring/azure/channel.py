"""The worker's end of the socket: blocking reads and writes of whole frames."""

from __future__ import annotations

import socket

from scoring import frames

_SMALL = 64 * 1024
"""Up to here one system call for all beats not copying."""


class Closed(Exception):
    """The server has closed its end: time to go."""


class Channel:
    """One frame at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def receive(self) -> tuple[frames.Message, bytes]:
        """The next frame. Raises Closed."""
        header_bytes, body_bytes = frames.sizes(self._exactly(frames.PREFIX.size))
        if header_bytes + body_bytes <= _SMALL:
            data = self._exactly(header_bytes + body_bytes)
            return frames.decode_header(data[:header_bytes]), data[header_bytes:]
        message = frames.decode_header(self._exactly(header_bytes))
        return message, self._exactly(body_bytes)

    def send(self, message: frames.Message, body: bytes = b"") -> None:
        """One whole frame. Raises Closed."""
        try:
            if len(body) <= _SMALL:
                self._socket.sendall(frames.encode(message, body))
            else:
                self._socket.sendall(frames.head(message, len(body)))
                self._socket.sendall(body)
        except ConnectionError as error:
            raise Closed from error

    def _exactly(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            try:
                part = self._socket.recv(size, socket.MSG_WAITALL)
            except ConnectionError as error:
                raise Closed from error
            if not part:
                raise Closed
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
