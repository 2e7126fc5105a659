"""The bytes of a day."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.outbox.budget import DAY_MS, Budget, day_of, decode

SIZES = st.lists(st.tuples(st.integers(1, 500), st.integers(0, 3)), max_size=80)


@given(SIZES, st.integers(1, 5000))
def test_no_more_is_spent_than_the_day_has_but_its_first_message(
    sizes: list[tuple[int, int]], per_day: int
) -> None:
    budget, by_stream = Budget(3), [0, 0, 0, 0]
    for size, stream in sizes:
        is_first = budget.spent_bytes == 0
        if budget.allows(size, stream, per_day):
            budget = budget.spend(size)
            by_stream[stream] += size
            assert is_first or budget.spent_bytes <= per_day * (1, 0.9, 0.75, 0.5)[stream]
    assert budget.spent_bytes == sum(by_stream)


def test_what_is_less_important_leaves_some_to_what_is_more() -> None:
    budget = Budget(1, 60)
    assert [budget.allows(10, stream, 100) for stream in range(4)] == [True, True, True, False]
    assert [budget.left_bytes(stream, 100) for stream in range(4)] == [40, 30, 15, 0]


def test_nothing_goes_at_all_when_the_day_has_no_bytes() -> None:
    assert not Budget(1).allows(1, 0, 0)


def test_without_a_bound_all_goes() -> None:
    assert Budget(1, 10**12).allows(10**9, 3, None)
    assert Budget(1).left_bytes(3, None) is None


def test_a_record_that_is_larger_than_a_day_goes_first_on_one() -> None:
    assert Budget(1).allows(10**6, 3, 100)
    assert not Budget(1, 1).allows(10**6, 0, 100)


def test_the_next_day_begins_with_nothing_spent() -> None:
    assert Budget(5, 90).at(5) == Budget(5, 90)
    assert Budget(5, 90).at(6) == Budget(6, 0)
    assert Budget(-1, 90).at(-2) == Budget(-2, 0)


def test_a_clock_that_becomes_known_is_no_new_day() -> None:
    assert Budget(-1, 90).at(20_000) == Budget(20_000, 90)


def test_days_are_the_hubs_or_since_the_boot() -> None:
    assert day_of(DAY_MS * 7 + 5, 0) == 7
    assert day_of(None, 0) == -1
    assert day_of(None, DAY_MS) == -2


@given(st.integers(-100, 10**6), st.integers(0, 10**15))
def test_it_is_kept(day: int, spent: int) -> None:
    assert decode(Budget(day, spent).encode()) == Budget(day, spent)


@given(st.one_of(st.none(), st.binary(max_size=30), st.just(b"[1]"), st.just(b'{"a":1}')))
def test_what_cannot_be_read_begins_anew(data: bytes | None) -> None:
    assert isinstance(decode(data), Budget)
