"""Says what happens in the folder, from some place on, to whoever started it; and does what that
asks: one JSON object a line on standard input."""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import time
from typing import Any

from runtime.submitted.files import list_outputs, open_below
from runtime.submitted.layout import (
    ALIVE_FRAME,
    ALIVE_S,
    ANSWERS,
    BEGIN_FRAME,
    CANCEL,
    CHUNK_BYTES,
    DATA_FRAME,
    END_FRAME,
    FILES,
    HEADER,
    HEARD,
    JOURNAL,
    JOURNAL_FRAME,
    LEASE,
    LOG,
    LOG_FRAME,
    MAGIC,
    OUTPUTS_FRAME,
    RUN,
    STATE,
    STATE_FRAME,
    Folder,
    is_alive,
)

TICK_S = 0.05
BEGIN_S = 60.0
"""For the first request, and for a supervisor to begin."""
LOOK_S = 0.5
GONE = json.dumps(
    {
        "phase": "ended",
        "why": "gone",
        "code": None,
        "message": "what ran the script was ended on the target: was the machine restarted, or out"
        " of memory?",
    }
).encode()


class Follower:
    """One who follows; there may be others, before and after."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._log_at = self._journal_at = 0
        self._state: bytes | None = None
        self._said_at = time.monotonic()
        self._requests = b""
        self._is_over = False
        self._began_at = self._look_at = time.monotonic()

    def run(self) -> None:
        """Until nobody asks any more."""
        wait_s = BEGIN_S
        while not self._is_over:
            ready, _, _ = select.select([0], [], [], wait_s)
            if ready:
                self._hear()
            elif wait_s == BEGIN_S:
                return
            wait_s = TICK_S
            if self._say_news():
                self._said_at = time.monotonic()
            elif time.monotonic() - self._said_at > ALIVE_S:
                self._frame(ALIVE_FRAME, b"")
                self._said_at = time.monotonic()

    def _say_news(self) -> bool:
        state = self._now()  # read before, and said after, what it speaks of
        before = (self._log_at, self._journal_at)
        self._log_at = self._stream(LOG_FRAME, self._folder.at(LOG), self._log_at)
        path = self._folder.at(RUN, JOURNAL)
        self._journal_at = self._stream(JOURNAL_FRAME, path, self._journal_at)
        is_new = state is not None and state != self._state
        if state is not None and is_new:
            self._state = state
            self._frame(STATE_FRAME, state)
        return is_new or before != (self._log_at, self._journal_at)

    def _now(self) -> bytes | None:
        """The state; where the supervisor died, how it must have ended."""
        state = self._folder.read(STATE)
        if time.monotonic() < self._look_at:
            return state
        self._look_at = time.monotonic() + LOOK_S
        if state is None:
            is_dead = time.monotonic() - self._began_at > BEGIN_S
        else:
            is_dead = json.loads(state.decode())["phase"] != "ended" and not is_alive(self._folder)
        state = self._folder.read(STATE)  # it may have said so meanwhile
        if is_dead and (state is None or json.loads(state.decode())["phase"] != "ended"):
            return GONE
        return state

    def _stream(self, letter: bytes, path: str, start: int) -> int:
        try:
            with open(path, "rb") as file:
                file.seek(start)
                while True:
                    data = file.read(CHUNK_BYTES)
                    if not data:
                        return start
                    self._frame(letter, data)
                    start += len(data)
        except FileNotFoundError:
            return start

    def _hear(self) -> None:
        data = os.read(0, CHUNK_BYTES)
        if not data:
            self._is_over = True
        self._requests += data
        while b"\n" in self._requests:
            line, _, self._requests = self._requests.partition(b"\n")
            self._obey(json.loads(line.decode()))

    def _obey(self, request: dict[str, Any]) -> None:
        what = request["do"]
        if what == "follow":
            self._write(MAGIC)
            self._log_at, self._journal_at = request["log"], request["journal"]
            self._folder.touch(LEASE)
        elif what == "lease":
            self._folder.touch(LEASE)
        elif what == "cancel":
            self._folder.touch(RUN, CANCEL)
        elif what == "answer":
            name = os.path.basename(request["question"])
            self._folder.write(os.path.join(RUN, ANSWERS, name), request["answer"])
        elif what == "get":
            self._send(request["path"])
        elif what == "drop":
            self._drop(os.path.basename(request["name"]))
        elif what == "outputs":
            self._frame(OUTPUTS_FRAME, json.dumps(list_outputs(self._folder)).encode())
        elif what == "bye":
            self._folder.touch(HEARD)
            self._is_over = True

    def _drop(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._folder.at(RUN, FILES, name))

    def _send(self, path: str) -> None:
        try:
            handle = open_below(self._folder.path, path)
        except OSError as error:
            self._frame(END_FRAME, _why(error))
            return
        try:
            left = os.fstat(handle).st_size
            self._frame(BEGIN_FRAME, json.dumps({"size": left}).encode())
            while left > 0:
                data = os.read(handle, min(CHUNK_BYTES, left))
                if not data:
                    raise OSError(0, "it became shorter")
                self._frame(DATA_FRAME, data)
                left -= len(data)
            self._frame(END_FRAME, b"{}")
        except BrokenPipeError:
            raise
        except OSError as error:
            self._frame(END_FRAME, _why(error))
        finally:
            os.close(handle)

    def _frame(self, letter: bytes, data: bytes) -> None:
        self._write(struct.pack(HEADER, letter, len(data)) + data)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(1, left) :]


def _why(error: OSError) -> bytes:
    return json.dumps({"error": error.strerror or "it cannot be read"}).encode()
