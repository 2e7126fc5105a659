"""Who has which connection, and which should move."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoring.supervision.connection_table import (
    ConnectionTable,
    TableFullError,
    least_loaded,
    surplus,
)


def test_a_slot_is_free_again_after_its_connection_closed() -> None:
    table = ConnectionTable(1)
    slot = table.open(None)
    assert table.is_full
    with pytest.raises(TableFullError):
        table.open(None)
    table.close(slot)
    assert table.open(None) == slot


def test_the_connections_of_an_owner_that_is_dropped_wait() -> None:
    table = ConnectionTable(8)
    table.add_owner(1)
    slots = {table.open(1), table.open(1)}
    assert table.count(1) == 2
    assert table.drop_owner(1) == slots
    assert set(table.waiting()) == slots
    assert all(table.owner(slot) is None for slot in slots)


def test_a_wrong_move_raises_and_changes_nothing() -> None:
    table = ConnectionTable(8)
    slot = table.open(None)
    before = repr(table)
    for wrong in (
        lambda: table.open(7),
        lambda: table.give(slot, 7),
        lambda: table.give(5, None),
        lambda: table.close(5),
    ):
        with pytest.raises(KeyError):
            wrong()
    assert repr(table) == before


def test_least_loaded() -> None:
    assert least_loaded({}) is None
    assert least_loaded({1: 3, 2: 2, 3: 5}) == 2


@given(st.dictionaries(st.integers(), st.integers(0, 1000), max_size=9))
def test_after_the_surplus_went_to_the_least_loaded_counts_differ_by_one_at_most(
    counts: dict[int, int],
) -> None:
    plan = surplus(counts)
    after = {owner: count - plan.get(owner, 0) for owner, count in counts.items()}
    for _ in range(sum(plan.values())):
        owner = least_loaded(after)
        assert owner is not None
        after[owner] += 1
    assert not counts or max(after.values()) - min(after.values()) <= 1
    assert surplus(after) == {}


def test_surplus_is_bounded() -> None:
    assert surplus({1: 100, 2: 0}, at_most=8) == {1: 8}
