"""Signals as something that a selector can wait for."""

from __future__ import annotations

import signal
import socket
from collections.abc import Collection
from types import FrameType


class Wakeup:
    """While entered, these signals do nothing but to become readable here. The main thread only.

    with Wakeup({signal.SIGTERM}) as wakeup:
        select.select([wakeup], [], [])
        wakeup.read()    # b"\\x0f"
    """

    def __init__(self, numbers: Collection[signal.Signals]) -> None:
        self._numbers = numbers
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def __enter__(self) -> Wakeup:
        self._handlers = {number: signal.signal(number, _nothing) for number in self._numbers}
        self._fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._fd)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def fileno(self) -> int:
        """For selectors."""
        return self._reader.fileno()

    def read(self) -> bytes:
        """The numbers of the signals that came, in order. Raises BlockingIOError before any."""
        return self._reader.recv(4096)

    def close(self) -> None:
        """In a forked child too, where nothing else may be called."""
        self._reader.close()
        self._writer.close()


def _nothing(number: int, frame: FrameType | None) -> None:
    """The byte that the interpreter writes says it all."""
