from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.autoscale.extremes import PARTS, Parts, extreme, with_need

STEPS = st.lists(st.tuples(st.floats(0.01, 20.0), st.floats(0.0, 100.0)), min_size=1, max_size=200)


@given(STEPS, st.floats(0.0, 300.0))
def test_it_covers_the_window_and_not_much_more(
    steps: list[tuple[float, float]], window_s: float
) -> None:
    parts: Parts = ()
    seen: list[tuple[float, float]] = []
    now_s = 0.0
    for span_s, need in steps:
        now_s += span_s
        parts = with_need(parts, max, window_s, now_s, need)
        seen.append((now_s, need))
        assert len(parts) <= 2 * PARTS + 2
        found = extreme(parts, max, window_s, now_s)
        if seen[0][0] > now_s - window_s:
            assert found is None
            continue
        within = [one for at_s, one in seen if at_s >= now_s - window_s]
        # The part that the window's beginning lies in, and the look before it, may count too.
        before = [at_s for at_s, _ in seen if at_s <= now_s - window_s]
        oldest_s = before[-1] - window_s / PARTS
        wider = [one for at_s, one in seen if at_s >= oldest_s]
        assert found is not None
        assert max(within) <= found <= max(wider)


def test_a_window_of_nothing_is_what_was_seen_last() -> None:
    parts = with_need(with_need((), min, 0.0, 1.0, 7.0), min, 0.0, 2.0, 3.0)
    assert extreme(parts, min, 0.0, 2.0) == 3.0
    assert len(parts) == 1


def test_what_has_not_been_watched_is_not_known() -> None:
    assert extreme((), max, 10.0, 5.0) is None
    parts = with_need((), max, 10.0, 5.0, 1.0)
    assert extreme(parts, max, 10.0, 14.9) is None
    assert extreme(parts, max, 10.0, 15.0) == 1.0
