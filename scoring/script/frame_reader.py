"""Cuts what a socket delivers, in pieces of any size, into frames.

reader = FrameReader()
for message, body, ticket in reader.feed(data): ...
"""

from __future__ import annotations

from scoring.script.frames import PREFIX, Frame, Message, decode_header, sizes


class FrameReader:
    """Keeps what is not a whole frame yet. Each byte of a body is copied once, whatever its size:
    pieces wait in a list and are joined when the last one is there."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0
        self._head: tuple[Message, int, int] | None = None
        """Message, body length and ticket of the frame whose body is still coming."""

    @property
    def is_empty(self) -> bool:
        """Whether all that came in has been handed out."""
        return not self._have and self._head is None

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes. Raises FrameError."""
        if self._have:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._parts)
            self._parts.clear()
            self._have = 0
        frames: list[Frame] = []
        at, end = 0, len(data)
        while True:
            if self._head is None:
                self._need = PREFIX.size
                if end - at >= PREFIX.size:
                    header_bytes, body_bytes, ticket = sizes(data, at)
                    self._need += header_bytes
                    if end - at >= self._need:
                        header = data[at + PREFIX.size : at + self._need]
                        self._head = (decode_header(header), body_bytes, ticket)
                        at += self._need
            if self._head is not None:
                message, self._need, ticket = self._head
                if end - at >= self._need:
                    frames.append(Frame(message, data[at : at + self._need], ticket))
                    self._head = None
                    at += self._need
                    if at < end:
                        continue
            if at < end:
                self._parts.append(data[at:])
                self._have = end - at
            return frames
