"""What a switch waits for."""

from __future__ import annotations

from edge.messages.desired import Update, Window
from edge.switch.locks import LockBoard, waits_for

NIGHT = Update(windows=(Window(60, 120),))
ONE_AM, NOON = 3600.0, 43_200.0


def test_a_switch_waits_for_its_window() -> None:
    assert waits_for(NIGHT, NOON, 0, None, False) == "window"
    assert waits_for(NIGHT, ONE_AM, 0, None, False) is None


def test_a_lock_holds_until_its_deadline() -> None:
    update = Update(lock_deadline_s=600)
    assert waits_for(update, NOON, 599, "welding", False) == "lock: welding"
    assert waits_for(update, NOON, 600, "welding", False) is None
    assert waits_for(Update(), NOON, 1e9, "welding", False) == "lock: welding"


def test_a_module_that_is_updated_when_ready_says_so_first() -> None:
    update = Update(when_ready=True)
    assert waits_for(update, NOON, 0, None, False) == "ready"
    assert waits_for(update, NOON, 0, None, True) is None


def test_a_lock_ends_by_itself() -> None:
    now = [0.0]
    board = LockBoard(lambda: now[0])
    board.hold("digits", "welding", 10)
    assert (board.held("digits"), board.held("other")) == ("welding", None)
    now[0] = 10.0
    assert board.held("digits") is None
    board.hold("digits", "again", 10)
    board.release("digits")
    assert board.held("digits") is None


def test_a_word_that_it_is_ready_counts_for_one_switch() -> None:
    board = LockBoard()
    board.set_ready("digits")
    assert board.is_ready("digits")
    board.used("digits")
    assert not board.is_ready("digits")
