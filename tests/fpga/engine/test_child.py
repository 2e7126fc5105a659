"""The server's side of one process: deadlines, and what it makes of an enemy."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest

from fpga.errors import BitstreamError, ProgramError
from fpga.serving import frames
from fpga.serving.child import FAR, NEAR, Child, Lost, Opened, Unsound, deadline_s
from fpga.serving.frames import COUNTS, Counts
from tests.fpga.engine.bundles import Digits


class FakeProcess:
    """Runs until it is killed."""

    pid = 1

    def __init__(self) -> None:
        self.code: int | None = None

    def kill(self) -> None:
        self.code = -9

    def wait(self, timeout: float) -> int:
        if self.code is None:
            raise subprocess.TimeoutExpired("it", timeout)
        return self.code


class Desk:
    """A child, and the other end of its socket."""

    def __init__(self, digits: Digits) -> None:
        self.digits = digits
        ours, self.theirs = socket.socketpair()
        self.theirs.settimeout(20)
        self.process = FakeProcess()
        process = cast("subprocess.Popen[bytes]", self.process)
        self.child = Child(process, ours, digits.artifact)
        self.ready = {
            "v": 1, "digest": digits.artifact.digest(), "board": "Fake", "is_simulated": True,
            "max_batch": 16, "seconds_per_clock": 1e-8, "pid": 1, "counts": vars(Counts()),
        }  # fmt: skip

    def say(self, kind: int, document: Any, number: int = 0) -> None:
        frames.send_json(self.theirs, kind, number, document)

    def open(self) -> None:
        self.say(frames.READY, self.ready)
        self.child.await_ready(30)

    def run(self, answer: Callable[[frames.Frame], None], count: int = 2) -> Any:
        """A run, answered in another thread."""

        def play() -> None:
            frame = frames.receive(self.theirs, 1 << 20)
            assert frame is not None
            answer(frame)

        thread = threading.Thread(target=play)
        thread.start()
        try:
            payloads = self.digits.artifact.quantise(self.digits.rows[:count])
            return self.child.run(payloads)
        finally:
            thread.join()


@pytest.fixture
def desk(digits: Digits) -> Iterator[Desk]:
    made = Desk(digits)
    yield made
    made.theirs.close()
    made.child.kill()
    made.child.end(is_asked=False)


def _opened(clock_s: float = 1e-8) -> Opened:
    return Opened("Fake", True, 16, clock_s, Counts())


def test_a_deadline_is_under_a_second_on_a_board_and_more_on_slow_ones(digits: Digits) -> None:
    made = digits.artifact
    assert deadline_s(made, 1, _opened()) < deadline_s(made, 64, _opened()) < 1.0
    assert deadline_s(made, 1, _opened(clock_s=1e-3)) > 1.0
    assert deadline_s(made, 1, _opened()) > NEAR.grace_s + 0.5, "later than the driver's own"
    assert deadline_s(made, 1, _opened(), FAR) > 2.0


def test_it_is_opened_and_answers(desk: Desk) -> None:
    desk.open()
    assert desk.child.opened == _opened()
    beats = np.arange(2 * desk.digits.artifact.output_words, dtype="<u8").reshape(2, -1)

    def answer(frame: frames.Frame) -> None:
        found = np.frombuffer(frame.body, "<u8")
        sent = desk.digits.artifact.quantise(desk.digits.rows[:2])
        assert (found == sent.ravel()).all()
        frames.send(desk.theirs, frames.ANSWER, frame.number, Counts(2, 1).encode(), beats)

    assert (desk.run(answer) == beats).all()
    assert desk.child.counts == Counts(2, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2}, {"v": None}, {"digest": "0" * 64}, {"digest": None}, {"board": 1},
        {"is_simulated": 1}, {"max_batch": 0}, {"max_batch": 1 << 40}, {"max_batch": 1.5},
        {"max_batch": True}, {"seconds_per_clock": 0}, {"seconds_per_clock": 1e9},
        {"seconds_per_clock": "fast"}, {"seconds_per_clock": float("nan")}, {"counts": None},
        {"counts": {"samples": -1}}, {"counts": {"samples": "x"}}, {"counts": {"nobody": 1}},
    ],
)  # fmt: skip
def test_one_that_says_nonsense_of_itself_is_lost(desk: Desk, change: dict[str, Any]) -> None:
    desk.say(frames.READY, {**desk.ready, **change})
    with pytest.raises(Lost):
        desk.child.await_ready(30)


@pytest.mark.parametrize(
    "sent",
    [b"Traceback", b"", frames.HEADER.pack(frames.MAGIC, frames.ANSWER, 0, 40) + bytes(40),
     frames.HEADER.pack(frames.MAGIC, frames.READY, 0, 1) + b"{",
     frames.HEADER.pack(frames.MAGIC, frames.RUN, 0, 0),
     frames.HEADER.pack(frames.MAGIC, frames.READY, 0, 1 << 40)],
)  # fmt: skip
def test_one_that_sends_nonsense_instead_is_lost(desk: Desk, sent: bytes) -> None:
    desk.theirs.sendall(sent)
    desk.theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(Lost):
        desk.child.await_ready(30)


def test_what_it_refuses_with_is_raised(desk: Desk) -> None:
    desk.say(frames.REFUSED, {"error": "BitstreamError", "message": "for another part"})
    with pytest.raises(BitstreamError, match="for another part"):
        desk.child.await_ready(30)


def test_one_that_says_nothing_is_lost_in_time(desk: Desk) -> None:
    began = time.monotonic()
    with pytest.raises(Lost, match="not ready"):
        desk.child.await_ready(0.05)
    desk.open()
    with pytest.raises(Lost, match="no answer in"):
        desk.run(lambda frame: None)
    assert time.monotonic() - began < 15


def _answers(number: int) -> dict[str, tuple[int, int, bytes]]:
    """Kind, number and body of wrong answers to run ``number`` of two samples."""
    right = bytes(COUNTS.size + 8 * 2 * 2)
    return {
        "of another run": (frames.ANSWER, number + 1, right),
        "too short": (frames.ANSWER, number, right[:-8]),
        "too long": (frames.ANSWER, number, right + bytes(8)),
        "a very long one": (frames.ANSWER, number, bytes(1 << 20)),
        "nothing": (frames.ANSWER, number, b""),
        "a READY": (frames.READY, number, b"{}"),
        "a run": (frames.RUN, number, b""),
        "a failure without JSON": (frames.FAILED, number, b"\xff"),
        "a failure of another run": (frames.FAILED, number + 1, b"{}"),
    }


@pytest.mark.parametrize("kind", _answers(0))
def test_a_wrong_answer_is_never_taken_for_the_right_one(desk: Desk, kind: str) -> None:
    desk.open()
    assert desk.digits.artifact.output_words * desk.digits.artifact.shape.word_beats == 2

    def answer(frame: frames.Frame) -> None:
        what, number, body = _answers(frame.number)[kind]
        with contextlib.suppress(OSError):  # it does not listen to the end
            frames.send(desk.theirs, what, number, body)

    with pytest.raises(Lost):
        desk.run(answer)


def test_a_failure_says_whether_the_board_recovers(desk: Desk) -> None:
    desk.open()

    def fail(is_sound: Any) -> Callable[[frames.Frame], None]:
        document = {"error": "ProgramError", "message": "m", "is_sound": is_sound}
        return lambda frame: desk.say(frames.FAILED, document, frame.number)

    with pytest.raises(ProgramError):
        desk.run(fail(True))
    for is_sound in (False, None, "yes", 1):
        with pytest.raises(Unsound, match="m"):
            desk.run(fail(is_sound))


def test_one_that_ends_in_the_middle_is_lost_at_once(desk: Desk) -> None:
    desk.open()
    with pytest.raises(Lost, match="it ended"):  # and not that no answer came in time
        desk.run(lambda frame: desk.theirs.close())
    with pytest.raises(Lost, match="it ended"):
        desk.child.run(desk.digits.artifact.quantise(desk.digits.rows[:1]))


def test_counts_are_what_the_wire_says() -> None:
    assert json.loads(json.dumps(vars(Counts(1, 2, 3, 4, 5)))) == {
        "samples": 1, "packets": 2, "loads": 3, "downloads": 4, "recoveries": 5,
    }  # fmt: skip
