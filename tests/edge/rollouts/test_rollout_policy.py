"""Sizes of batches are numbers or parts, grow, and end with all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import InvalidSpecError
from edge.hub.rollout_policy import Policy, at_once, check, count, targets


@pytest.mark.parametrize(
    ("batches", "total", "expected"),
    [
        (("1", "10%", "100%"), 1000, [1, 100, 1000]),
        (("1", "10%"), 1000, [1, 100, 1000]),
        (("1", "10%", "100%"), 3, [1, 1, 3]),
        (("100", "10%", "100%"), 500, [100, 100, 500]),
        (("0.1%", "100%"), 10, [1, 10]),
        (("5", "100%"), 2, [2, 2]),
        (("100%",), 7, [7]),
        (("1",), 0, [0, 0]),
        (("29%", "100%"), 100, [29, 100]),
    ],
)
def test_batches_are_how_many_have_it(
    batches: tuple[str, ...], total: int, expected: list[int]
) -> None:
    assert targets(Policy(batches=batches), total) == expected


@pytest.mark.parametrize(
    "policy",
    [
        Policy(batches=()),
        Policy(batches=("0",)),
        Policy(batches=("0%",)),
        Policy(batches=("101%",)),
        Policy(batches=("-1",)),
        Policy(batches=("ten",)),
        Policy(batches=("1",) * 101),
        Policy(at_once="0"),
        Policy(at_once="x"),
        Policy(success_percent=0.0),
        Policy(success_percent=float("nan")),
        Policy(abort_percent=101.0),
        Policy(abort_minimum=0),
        Policy(timeout_s=0.0),
        Policy(timeout_s=float("inf")),
        Policy(soak_s=-1.0),
    ],
)
def test_a_policy_that_nobody_can_follow_is_refused(policy: Policy) -> None:
    with pytest.raises(InvalidSpecError):
        check(policy)


def test_the_policy_that_is_given_to_those_who_give_none_is_right() -> None:
    assert check(Policy()) == Policy()
    assert at_once(Policy(), 50) == 50
    assert at_once(Policy(at_once="1%"), 50) == 1


SIZES = st.integers(1, 2000).map(str) | st.integers(1, 100).map(lambda percent: f"{percent}%")


@given(st.lists(SIZES, min_size=1, max_size=6).map(tuple), st.integers(0, 1500))
def test_targets_never_shrink_and_end_with_all(batches: tuple[str, ...], total: int) -> None:
    sizes = targets(check(Policy(batches=batches)), total)
    assert sizes == sorted(sizes)
    assert sizes[-1] == total
    assert all(count(size, total) <= total for size in batches)
