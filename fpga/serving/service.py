"""The process that drives a board for a server: opens it, runs what comes, recovers.

It ends when the server's end of the socket is closed, and after anything that it cannot mend.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fpga.artifact import Artifact
from fpga.driver.hardware import Hardware
from fpga.driver.session import Session
from fpga.errors import BusyError, FpgaError
from fpga.serving import frames
from fpga.serving.frames import Counts, Frame, FrameError

BUSY_S = 2.0
"""How long a board may still belong to a process that was just ended."""
POLL_S = 0.05


def open_session(
    session: Session,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Raises what `Session.open` raises; BusyError only after BUSY_S."""
    end = clock() + BUSY_S
    while True:
        try:
            session.open()
            return
        except BusyError:
            if clock() >= end:
                raise
            sleep(POLL_S)


class Service:
    """Answers one server. ``session`` is open."""

    def __init__(self, sock: socket.socket, session: Session, board: Hardware) -> None:
        self._sock, self._session, self._board = sock, session, board
        artifact = session.artifact
        self._beats = artifact.input_words * artifact.shape.word_beats
        self._digest = artifact.digest()
        self._packets = 0

    def serve(self) -> int:
        """Until the server has gone: 0; 1 after what cannot be mended."""
        self._ready(0)
        while True:
            frame = frames.receive(self._sock, self._session.max_batch * 8 * self._beats)
            if frame is None:
                return 0
            payloads = self._payloads(frame)
            try:
                answer = self._session.run_beats(payloads)
            except Exception as error:
                if not self._failed(frame.number, error):
                    return 1
                continue
            self._packets += 1
            frames.send(
                self._sock, frames.ANSWER, frame.number, self._counts().encode(),
                np.ascontiguousarray(answer, "<u8"),
            )  # fmt: skip

    def _payloads(self, frame: Frame) -> Any:
        if frame.kind != frames.RUN:
            raise FrameError("a server sends runs only")
        if not len(frame.body) or len(frame.body) % (8 * self._beats):
            raise FrameError(f"a run of {len(frame.body)} bytes")
        return np.frombuffer(frame.body, "<u8").reshape(-1, self._beats)

    def _failed(self, number: int, error: Exception) -> bool:
        """Tell of it at once, then mend the board. False where that does not work."""
        is_sound = self._session.is_sound
        document = dict(frames.error_fields(error), is_sound=is_sound)
        frames.send_json(self._sock, frames.FAILED, number, document)
        if is_sound:
            return True
        try:
            self._session.recover()
        except Exception as worse:
            frames.send_json(self._sock, frames.REFUSED, number, frames.error_fields(worse))
            return False
        self._ready(number)
        return True

    def _ready(self, number: int) -> None:
        document = {
            "v": frames.VERSION, "digest": self._digest, "board": self._board.name,
            "is_simulated": self._board.is_simulated, "max_batch": self._session.max_batch,
            "seconds_per_clock": self._board.seconds_per_clock, "pid": os.getpid(),
            "counts": vars(self._counts()),
        }  # fmt: skip
        frames.send_json(self._sock, frames.READY, number, document)

    def _counts(self) -> Counts:
        session = self._session
        return Counts(
            session.samples, self._packets, session.loads, session.downloads, session.recoveries
        )


def drive(
    sock: socket.socket,
    artifact: Artifact,
    bit: bytes,
    hwh: bytes,
    open_board: Callable[[Artifact], Any],
) -> int:
    """All of the process's life but its beginning; returns its exit code."""
    session = None
    try:
        board, lock = open_board(artifact)
        session = Session(artifact, bit, hwh, board, lock=lock)
        open_session(session)
    except Exception as error:
        frames.send_json(sock, frames.REFUSED, 0, frames.error_fields(error))
        return 1
    try:
        return Service(sock, session, board).serve()
    except FpgaError:  # a server that sends nonsense: it will start another process
        return 1
    finally:
        session.close()
