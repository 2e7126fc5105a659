"""What children print, copied to our stderr as it comes, up to a bound; and heard line by line."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import IO

COPIED_BYTES = 1024 * 1024
"""Copied as it comes; of what is behind it only the end, when all have ended."""
TAIL_BYTES = 64 * 1024
LINE_BYTES = 8192
LINES = 50
"""Kept for the cause."""


class LogCopy:
    """Where the output of all children goes."""

    def __init__(self, to: IO[bytes]) -> None:
        self._to = to
        self._lock = threading.Lock()
        self._copied = self._left_out = 0
        self._tail = b""
        self._last = b"\n"

    def add(self, data: bytes) -> None:
        """Copy it, or keep its end."""
        with self._lock:
            fits = COPIED_BYTES - self._copied
            self._copied += len(data[:fits])
            self._put(data[:fits])
            if data[fits:]:
                self._left_out += len(data[fits:])
                self._tail = (self._tail + data[fits:])[-TAIL_BYTES:]

    def finish(self) -> None:
        """Copy the end that was kept, and end the last line: what comes next is another one."""
        with self._lock:
            left_out = self._left_out - len(self._tail)
            if left_out:
                self._put(b"\n... %d bytes left out ...\n" % left_out)
            self._put(self._tail)
            self._left_out, self._tail = 0, b""
            if self._last != b"\n":
                self._put(b"\n")

    def _put(self, data: bytes) -> None:
        self._last = data[-1:] or self._last
        with contextlib.suppress(OSError):  # nobody reads it
            self._to.write(data)
            self._to.flush()


class ChildLog:
    """The output of one child, which prints to ``write_end``. ``on_line`` runs in a thread."""

    def __init__(self, copy: LogCopy, on_line: Callable[[str], None] = lambda line: None) -> None:
        self.lines: deque[str] = deque(maxlen=LINES)
        self._copy = copy
        self._on_line = on_line
        self._read_end, self.write_end = os.pipe()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def started(self) -> None:
        """The child has it now: the log ends with the child."""
        os.close(self.write_end)

    def wait(self, timeout_s: float) -> None:
        """Until all is heard, which is when nobody can print any more, or ``timeout_s``."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        rest = b""
        while data := os.read(self._read_end, 65536):
            self._copy.add(data)
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._heard(line)
        self._heard(rest)
        os.close(self._read_end)

    def _heard(self, line: bytes) -> None:
        text = line[:LINE_BYTES].decode(errors="replace").rstrip()
        if text:
            self.lines.append(text)
            self._on_line(text)
