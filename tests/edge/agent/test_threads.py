from __future__ import annotations

import threading
import time

from edge.agent.threads import Crew, within

PATIENCE_S = 45.0


def test_a_thread_that_dies_is_begun_again_and_told_of() -> None:
    deaths: list[tuple[str, str]] = []
    runs = 0
    well = threading.Event()

    def work(stopping: threading.Event) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ValueError("of no use")
        if runs == 2:
            return
        well.set()
        stopping.wait()

    crew = Crew(on_death=lambda name, cause: deaths.append((name, cause)), first_wait_s=0.01)
    crew.add("worker", work)
    assert well.wait(PATIENCE_S)
    assert crew.stop(time.monotonic() + PATIENCE_S) == []
    assert deaths == [("worker", "ValueError: of no use"), ("worker", "it returned")]
    assert crew.deaths == 2


def test_a_death_that_cannot_be_told_is_no_reason_not_to_begin_again() -> None:
    runs = 0
    well = threading.Event()

    def work(stopping: threading.Event) -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ValueError("of no use")
        well.set()
        stopping.wait()

    def untold(name: str, cause: str) -> None:
        raise OSError("the disk is full")

    crew = Crew(on_death=untold, first_wait_s=0.01)
    crew.add("worker", work)
    assert well.wait(PATIENCE_S)
    assert crew.stop(time.monotonic() + PATIENCE_S) == []


def test_one_that_dies_or_hangs_stops_no_other() -> None:
    release = threading.Event()
    ticks = 0
    enough = threading.Event()

    def ticker(stopping: threading.Event) -> None:
        nonlocal ticks
        while not stopping.wait(0.001):
            ticks += 1
            if ticks > 20:
                enough.set()

    def stuck(stopping: threading.Event) -> None:
        release.wait()

    def dying(stopping: threading.Event) -> None:
        raise RuntimeError

    crew = Crew(first_wait_s=0.001)
    for name, work in (("stuck", stuck), ("dying", dying), ("ticker", ticker)):
        crew.add(name, work)
    assert enough.wait(PATIENCE_S)
    assert crew.stop(time.monotonic() + 0.2) == ["stuck"]
    release.set()


def test_what_takes_too_long_is_left_to_itself() -> None:
    release = threading.Event()
    assert within(PATIENCE_S, "it", lambda: None)
    assert not within(0.01, "it", release.wait)
    release.set()
