"""The states, and what a kill leaves of each."""

from __future__ import annotations

import itertools

import pytest

from edge.switch.machine import COMMITTED, PREPARING, IllegalMoveError, State, after_restart, move


def test_an_update_goes_from_state_to_state_in_order() -> None:
    way = [
        State.IDLE, State.PULLING, State.LOADING, State.WAITING, State.STARTING, State.GATING,
        State.SHADOWING, State.SWITCHING, State.WATCHING, State.IDLE,
    ]  # fmt: skip
    for old, new in itertools.pairwise(way):
        assert move(old, new) is new


def test_nothing_is_switched_that_was_not_tried() -> None:
    for state in (State.IDLE, State.FAILED, State.PULLING, State.LOADING, State.STARTING):
        with pytest.raises(IllegalMoveError):
            move(state, State.SWITCHING)


def test_a_switch_that_was_begun_ends_in_the_new_version_or_goes_back() -> None:
    for new in State:
        if new in (State.WATCHING, State.ROLLING_BACK):
            assert move(State.SWITCHING, new) is new
        else:
            with pytest.raises(IllegalMoveError):
                move(State.SWITCHING, new)


def test_a_kill_before_the_switch_is_as_if_nothing_had_begun() -> None:
    for state in State:
        assert after_restart(state, False) is (State.IDLE if state in PREPARING else state)
        assert after_restart(state, True) is (State.WATCHING if state in PREPARING else state)


def test_what_is_being_prepared_can_be_given_up_at_any_time() -> None:
    for state, end in itertools.product(PREPARING, COMMITTED):
        assert move(state, end) is end


def test_every_state_has_a_phase_that_reports_know() -> None:
    assert len({state.phase for state in State}) == len(State)
