"""What ``agent.py follow`` says, cut into frames; and log bytes, cut into lines. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from runtime.submission.errors import LostError
from runtime.submitted.layout import HEADER, HEADER_BYTES, MAGIC, MAX_FRAME_BYTES

MAX_LINE_BYTES = 4096
MAX_NOISE_BYTES = 64 * 1024
MAX_LIST_BYTES = 64 * 1024 * 1024
"""Of the frame that lists the outputs."""


class Frame(NamedTuple):
    """One: see runtime/submitted/layout.py."""

    letter: bytes
    data: bytes


class Frames:
    """Of one stream."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._is_begun = False

    def take(self, data: bytes) -> Iterator[Frame]:
        """Those that are complete now. Raises LostError for what is none."""
        self._rest += data
        if not self._is_begun and not self._begin():
            return
        while len(self._rest) >= HEADER_BYTES:
            letter, size = struct.unpack_from(HEADER, self._rest)
            if letter not in b"LJSOBDEH" or size > (
                MAX_LIST_BYTES if letter == b"O" else MAX_FRAME_BYTES
            ):
                raise LostError("what the target says makes no sense")
            end = HEADER_BYTES + size
            if len(self._rest) < end:
                return
            yield Frame(letter, bytes(self._rest[HEADER_BYTES:end]))
            del self._rest[:end]

    def _begin(self) -> bool:
        """Whether the first frame is to come next; what was said before it goes."""
        at = self._rest.find(MAGIC)
        if at < 0:
            if len(self._rest) > MAX_NOISE_BYTES:
                raise LostError(
                    "the target says something else than what happens there; do its shell's files"
                    " print?"
                )
            return False
        del self._rest[: at + len(MAGIC)]
        self._is_begun = True
        return True


class Lines:
    """What a script prints, in whole lines. Of a line that a progress bar has written over, the
    last state counts; of a long one, its beginning."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> Iterator[str]:
        """Those that are complete now."""
        *whole, rest = (self._rest + data).split(b"\n")
        for line in whole:
            yield _text(line)
        self._rest = rest.rsplit(b"\r", 1)[-1] if rest[-1:] != b"\r" else rest
        self._rest = self._rest[:MAX_LINE_BYTES]

    def end(self) -> Iterator[str]:
        """What is left of a last line."""
        if self._rest:
            yield _text(self._rest)
        self._rest = b""


def _text(line: bytes) -> str:
    last = line.rstrip(b"\r").rsplit(b"\r", 1)[-1]
    return last[:MAX_LINE_BYTES].decode("utf-8", "replace")
