"""The process's side: what it answers, what it refuses, how it mends the board."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpga import artifact as artifacts
from fpga.driver.emulated import EmulatedHardware
from fpga.driver.lock import BoardLock
from fpga.driver.session import Session
from fpga.errors import BusyError, EngineError, FpgaError
from fpga.serving import frames, service
from fpga.serving.frames import Counts, Frame
from tests.fpga.engine.bundles import Digits

RUNS = 10.0


class Odd(EmulatedHardware):
    """Fails as it is told: the next run, or everything that is written."""

    fails_runs = False
    fails_resets = False

    def write(self, address: int, value: int) -> None:
        if self.fails_resets:
            raise EngineError("no reset")
        super().write(address, value)

    def read(self, address: int) -> int:
        if self.fails_runs:
            self.fails_runs = False
            raise EngineError("no run")
        return super().read(address)


class Desk:
    """The process as a thread, and the server's end of its socket."""

    def __init__(self, digits: Digits, folder: Path) -> None:
        self.digits = digits
        self.board = Odd(digits.artifact.shape, digits.artifact.build)
        self.lock = BoardLock("desk", folder)
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(RUNS)
        self.code: int | None = None
        self.thread = threading.Thread(target=self._drive)
        self.thread.start()

    def _drive(self) -> None:
        made = artifacts.load(self.digits.root / "fpga")
        bit, hwh = (
            (self.digits.root / "fpga" / name).read_bytes() for name in ("design.bit", "design.hwh")
        )
        with self.theirs:
            self.code = service.drive(
                self.theirs, made, bit, hwh, lambda found: (self.board, self.lock)
            )

    def payloads(self, count: int) -> Any:
        return self.digits.artifact.quantise(self.digits.rows[:count])

    def receive(self) -> Frame:
        frame = frames.receive(self.ours, 1 << 24)
        assert frame is not None
        return frame

    def run(self, count: int, number: int = 1) -> Frame:
        frames.send(self.ours, frames.RUN, number, self.payloads(count))
        return self.receive()

    def end(self) -> int | None:
        self.ours.close()
        self.thread.join(RUNS)
        assert not self.thread.is_alive()
        return self.code


@pytest.fixture
def make(digits: Digits, tmp_path: Path) -> Iterator[Callable[[], Desk]]:
    desks: list[Desk] = []

    def made() -> Desk:
        desks.append(Desk(digits, tmp_path))
        return desks[-1]

    yield made
    for desk in desks:
        desk.end()


def test_it_is_ready_answers_and_leaves_when_the_server_does(make: Callable[[], Desk]) -> None:
    desk = make()
    ready = desk.receive()
    document = frames.document_of(ready)
    assert ready.kind == frames.READY
    assert document["digest"] == desk.digits.artifact.digest()
    assert document["max_batch"] == desk.digits.artifact.max_batch
    size = desk.digits.artifact.max_batch
    frame = desk.run(size, number=3)
    assert (frame.kind, frame.number) == (frames.ANSWER, 3)
    counts = Counts(*frames.COUNTS.unpack_from(frame.body))
    assert counts == Counts(samples=size, packets=1, loads=1, downloads=1)
    beats = np.frombuffer(frame.body, "<u8", offset=frames.COUNTS.size).reshape(size, -1)
    assert np.array_equal(desk.digits.artifact.dequantise(beats), desk.digits.expected[:size])
    assert desk.end() == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: board\r\n\r\n",
        frames.HEADER.pack(frames.MAGIC, frames.READY, 1, 2) + b"{}",
        frames.HEADER.pack(frames.MAGIC, frames.RUN, 1, 0),
        frames.HEADER.pack(frames.MAGIC, frames.RUN, 1, 8) + bytes(8),
        frames.HEADER.pack(frames.MAGIC, frames.RUN, 1, 65) + bytes(65),
        frames.HEADER.pack(frames.MAGIC, frames.RUN, 1, 1 << 50),
        frames.HEADER.pack(frames.MAGIC, frames.RUN, 1, 64)[:7],
    ],
)
def test_a_server_that_sends_nonsense_is_left(make: Callable[[], Desk], sent: bytes) -> None:
    desk = make()
    desk.receive()
    desk.ours.sendall(sent)
    desk.ours.shutdown(socket.SHUT_WR)
    with contextlib.suppress(ConnectionResetError):  # it did not listen to the end
        assert frames.receive(desk.ours, 100) is None
    assert desk.end() == 1
    desk.lock.acquire()  # it let the board go
    desk.lock.release()


def test_a_fault_is_told_at_once_and_the_board_mended_after(make: Callable[[], Desk]) -> None:
    desk = make()
    desk.receive()
    desk.board.fails_runs = True
    failed = desk.run(2, number=9)
    assert (failed.kind, failed.number) == (frames.FAILED, 9)
    document = frames.document_of(failed)
    assert document == {"error": "EngineError", "message": "no run", "is_sound": False}
    ready = desk.receive()
    assert ready.kind == frames.READY
    assert frames.document_of(ready)["counts"]["recoveries"] == 1
    assert desk.run(2).kind == frames.ANSWER


def test_what_cannot_be_mended_ends_it(make: Callable[[], Desk]) -> None:
    desk = make()
    desk.receive()
    desk.board.fails_resets = True
    assert desk.run(2).kind == frames.FAILED
    refused = desk.receive()
    assert refused.kind == frames.REFUSED
    assert frames.document_of(refused)["message"] == "no reset"
    assert desk.end() == 1


def test_a_board_that_cannot_be_opened_is_told(
    make: Callable[[], Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "BUSY_S", 0.1)
    holder = BoardLock("desk", tmp_path)
    holder.acquire()
    desk = make()
    refused = desk.receive()
    assert refused.kind == frames.REFUSED
    assert isinstance(frames.error_of(frames.document_of(refused)), BusyError)
    assert desk.end() == 1
    holder.release()


def test_a_board_that_is_free_a_moment_later_is_waited_for(digits: Digits, tmp_path: Path) -> None:
    holder = BoardLock("desk", tmp_path)
    holder.acquire()
    board = EmulatedHardware(digits.artifact.shape, digits.artifact.build)
    bit, hwh = ((digits.root / "fpga" / name).read_bytes() for name in ("design.bit", "design.hwh"))
    session = Session(digits.artifact, bit, hwh, board, lock=BoardLock("desk", tmp_path))
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            holder.release()

    service.open_session(session, clock=lambda: sum(naps), sleep=sleep)
    session.close()
    assert len(naps) == 3
    holder.acquire()
    naps.clear()
    with pytest.raises(FpgaError):
        service.open_session(session, clock=lambda: sum(naps), sleep=naps.append)
    assert sum(naps) == pytest.approx(service.BUSY_S, abs=0.1)
    holder.release()
