"""Work that nothing can interrupt does not hold up who is cancelled."""

from __future__ import annotations

import threading

import pytest

from registry.errors import CancelledError
from registry.remote.waits import Waits


def nothing() -> None:
    """Nobody cancels."""


def test_what_work_returns_or_raises_comes_back() -> None:
    waits = Waits(nothing)
    assert waits.apart(lambda: 7, lambda late: None) == 7
    with pytest.raises(ZeroDivisionError):
        waits.apart(lambda: 1 // 0, lambda late: None)


def test_who_is_cancelled_leaves_and_a_late_result_is_discarded() -> None:
    goes_on, discarded = threading.Event(), threading.Event()
    late: list[str] = []

    def work() -> str:
        goes_on.wait(60)
        return "connection"

    def discard(result: str) -> None:
        late.append(result)
        discarded.set()

    def check() -> None:
        raise CancelledError("the transfer was cancelled")

    with pytest.raises(CancelledError):
        Waits(check).apart(work, discard)
    assert late == []
    goes_on.set()
    assert discarded.wait(60)
    assert late == ["connection"]


def test_work_that_fails_late_is_nobody_s_business() -> None:
    goes_on, ended = threading.Event(), threading.Event()

    def work() -> str:
        goes_on.wait(60)
        ended.set()
        raise OSError("too late")

    def check() -> None:
        raise CancelledError("the transfer was cancelled")

    with pytest.raises(CancelledError):
        Waits(check).apart(work, lambda late: pytest.fail("there is nothing to discard"))
    goes_on.set()
    assert ended.wait(60)
