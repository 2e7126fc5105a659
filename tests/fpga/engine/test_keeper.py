"""Keeping a process alive: lost, unsound, gone, not coming back; and the end of it all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fpga.errors import BoardError, BusyError, FpgaError
from fpga.serving.child import Lost, Opened
from fpga.serving.frames import Counts
from fpga.serving.keeper import Keeper

WAIT_S = 45.0


class FakeDriver:
    """A process of which the test says how it is."""

    def __init__(self, number: int, ready: FpgaError | Lost | None) -> None:
        self.pid = number
        self.opened = Opened(f"board {number}", True, 1, 1e-8, Counts())
        self._sock, self._theirs = socket.socketpair()
        self._ready = ready
        self.answers = threading.Semaphore(0)
        self.waits_for_ready = False
        self.is_killed = threading.Event()
        self.ends: list[bool] = []
        self.stays = 0

    def fileno(self) -> int:
        return self._sock.fileno()

    def await_ready(self, limit_s: float) -> None:
        if self.waits_for_ready and not self.answers.acquire(timeout=WAIT_S):
            raise Lost("not ready")
        if self.is_killed.is_set():
            raise Lost("it ended")
        if self._ready is not None:
            raise self._ready

    def say(self, ready: FpgaError | Lost | None = None) -> None:
        """What it waits for comes."""
        self._ready = ready
        self.answers.release()

    def die(self) -> None:
        self._theirs.close()

    def kill(self) -> None:
        self.is_killed.set()
        self._theirs.close()
        self.answers.release()

    def end(self, *, is_asked: bool) -> str:
        self.ends.append(is_asked)
        if self.stays:
            self.stays -= 1
            raise BoardError("it cannot be ended")
        self._theirs.close()
        self._sock.close()
        return "was ended"


class Stable:
    """Makes drivers, and a keeper for them."""

    def __init__(self, **options: Any) -> None:
        self.drivers: list[FakeDriver] = []
        self.ready: list[FpgaError | Lost | None] = []
        """Of the next ones."""
        self.waits_for_ready = False
        self.changes = threading.Condition()
        self.threads: set[str] = set()
        self.keeper = Keeper(self._start, start_s=1, **{"backoff_s": (0.0, 0.01), **options})
        self.keeper.on_change = self._changed

    def _start(self) -> FakeDriver:
        self.threads.add(threading.current_thread().name)
        driver = FakeDriver(len(self.drivers) + 1, self.ready.pop(0) if self.ready else None)
        driver.waits_for_ready = self.waits_for_ready
        self.drivers.append(driver)
        return driver

    def _changed(self) -> None:
        with self.changes:
            self.changes.notify_all()

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        with self.changes:
            while not holds():
                assert time.monotonic() < deadline, f"it never came true: {self.keeper!r}"
                self.changes.wait(0.01)


@pytest.fixture
def stables() -> Iterator[Callable[..., Stable]]:
    made: list[Stable] = []

    def make(**options: Any) -> Stable:
        made.append(Stable(**options))
        return made[-1]

    yield make
    for stable in made:
        stable.keeper.close()
        assert not stable.keeper._thread.is_alive()
        assert all(driver.ends for driver in stable.drivers), "one was left behind"


Make = Callable[..., Stable]


def test_the_first_one_is_up_when_it_has_begun(stables: Make) -> None:
    stable = stables()
    assert stable.keeper.begin() is stable.drivers[0]
    assert stable.keeper.child() is stable.drivers[0]
    assert (stable.keeper.broken, stable.keeper.restarts) == (None, 0)
    stable.keeper.close()
    assert stable.drivers[0].ends == [True], "it was asked to leave"
    assert stable.keeper.child() is None
    stable.keeper.close()


@pytest.mark.parametrize("error", [BusyError("process 7 uses the board"), Lost("it ended")])
def test_a_first_one_that_does_not_get_ready_is_not_tried_again(
    stables: Make, error: FpgaError | Lost
) -> None:
    stable = stables()
    stable.ready = [error]
    with pytest.raises(FpgaError, match=str(error)) as raised:
        stable.keeper.begin()
    assert isinstance(raised.value, BusyError if isinstance(error, BusyError) else BoardError)
    assert len(stable.drivers) == 1


def test_one_that_dies_with_nobody_asking_is_replaced(stables: Make) -> None:
    stable = stables()
    first = stable.keeper.begin()
    first.die()
    stable.until(lambda: stable.keeper.broken is None and len(stable.drivers) == 2)
    assert stable.keeper.child() is stable.drivers[1]
    assert stable.keeper.restarts == 1
    assert stable.threads == {"fpga-keeper"}, "they die with the thread that started them"


def test_who_asks_while_it_is_away_waits_for_the_next(stables: Make) -> None:
    stable = stables()
    first = stable.keeper.begin()
    stable.waits_for_ready = True
    found: list[Any] = []
    stable.keeper.lost(first, "no answer")
    assert first.is_killed.is_set()
    assert stable.keeper.broken == "the board is not there now: no answer"
    assert stable.keeper.is_coming_back
    thread = threading.Thread(target=lambda: found.append(stable.keeper.child()))
    thread.start()
    stable.until(lambda: len(stable.drivers) == 2)
    assert not found
    stable.drivers[1].say()
    thread.join(WAIT_S)
    assert found == [stable.drivers[1]]
    assert first.ends == [False], "nobody waits for one that hangs"


def test_one_whose_board_recovers_stays(stables: Make) -> None:
    stable = stables()
    first = stable.keeper.begin()
    first.waits_for_ready = True
    stable.keeper.unsound(first, "a slave error")
    assert stable.keeper.broken == "the board is not there now: a slave error"
    first.say()
    stable.until(lambda: stable.keeper.broken is None)
    assert stable.keeper.child() is first
    assert stable.keeper.restarts == 0


@pytest.mark.parametrize("worse", [BoardError("no reset"), Lost("not ready in 30 s")])
def test_one_whose_board_does_not_recover_is_replaced(
    stables: Make, worse: FpgaError | Lost
) -> None:
    stable = stables()
    first = stable.keeper.begin()
    first.waits_for_ready = True
    stable.keeper.unsound(first, "a slave error")
    first.say(worse)
    stable.until(lambda: stable.keeper.broken is None)
    assert stable.keeper.child() is stable.drivers[1]


def test_while_it_does_not_come_back_nobody_waits_and_it_is_tried_on(stables: Make) -> None:
    stable = stables()
    first = stable.keeper.begin()
    stable.ready = [BoardError("it is off")] * 3
    first.die()
    stable.until(lambda: not stable.keeper.is_coming_back)
    assert stable.keeper.broken == "the board is not there now: it is off"
    stable.until(lambda: stable.keeper.broken is None)
    assert len(stable.drivers) == 5
    assert stable.keeper.is_coming_back


def test_patience_has_an_end(stables: Make) -> None:
    stable = stables(patience_s=0.05)
    first = stable.keeper.begin()
    stable.waits_for_ready = True
    first.die()
    stable.until(lambda: not stable.keeper.is_coming_back)
    assert stable.keeper.child() is None
    stable.until(lambda: len(stable.drivers) == 2)
    stable.drivers[1].say()
    stable.until(lambda: stable.keeper.broken is None)


def test_what_is_said_of_one_that_is_gone_changes_nothing(stables: Make) -> None:
    stable = stables()
    first = stable.keeper.begin()
    first.die()
    stable.until(lambda: stable.keeper.current is not first and stable.keeper.broken is None)
    stable.keeper.lost(first, "late news")
    stable.keeper.unsound(first, "late news")
    assert stable.keeper.broken is None


def test_one_that_cannot_be_ended_is_said_and_tried_until_it_can(stables: Make) -> None:
    stable = stables()
    first = stable.keeper.begin()
    first.stays = 3
    stable.keeper.lost(first, "no answer")
    stable.until(lambda: stable.keeper.broken is None)
    assert len(first.ends) == 4
    assert len(stable.drivers) == 2


def test_closing_ends_one_that_is_starting(stables: Make) -> None:
    stable = stables()
    stable.waits_for_ready = True
    failures: list[Exception] = []

    def begin() -> None:
        try:
            stable.keeper.begin()
        except FpgaError as error:
            failures.append(error)

    thread = threading.Thread(target=begin)
    thread.start()
    stable.until(lambda: bool(stable.drivers) and stable.keeper.current is not None)
    stable.keeper.close()
    thread.join(WAIT_S)
    assert len(failures) == 1
    assert stable.drivers[0].is_killed.is_set()


def test_one_that_is_closed_does_not_begin(stables: Make) -> None:
    stable = stables()
    stable.keeper.close()
    with pytest.raises(FpgaError, match="the board was closed"):
        stable.keeper.begin()
    assert not stable.drivers


def test_closing_ends_who_waits(stables: Make) -> None:
    stable = stables()
    first = stable.keeper.begin()
    stable.waits_for_ready = True
    first.die()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(stable.keeper.child()))
    stable.until(lambda: stable.keeper.broken is not None)
    thread.start()
    stable.keeper.close()
    thread.join(WAIT_S)
    assert found == [None]


def test_a_defect_of_ours_hangs_nobody(stables: Make) -> None:
    stable = stables()
    first = stable.keeper.begin()
    stable.ready = [RuntimeError("a bug")]  # type: ignore[list-item]
    first.die()
    stable.until(lambda: not stable.keeper.is_coming_back)
    assert stable.keeper.child() is None
    for driver in stable.drivers:
        driver.end(is_asked=False)
