"""Times in buckets."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from runtime.bench.histogram import LEAST_S, bucket_of, merged, quantile_s, seconds_of

TIMES = st.floats(min_value=LEAST_S, max_value=1e5)


@given(TIMES)
def test_a_bucket_ends_at_most_two_percent_after_a_time(seconds: float) -> None:
    end_s = seconds_of(bucket_of(seconds))
    assert seconds <= end_s * (1 + 1e-9)
    assert end_s <= seconds * 1.0201


@given(st.lists(TIMES, min_size=1, max_size=200), st.floats(0.001, 1.0))
def test_a_quantile_is_what_sorting_finds(times: list[float], share: float) -> None:
    counts = Counter(bucket_of(seconds) for seconds in times)
    exact = sorted(times)[max(1, math.ceil(share * len(times))) - 1]
    found = quantile_s(counts, share)
    assert found is not None
    assert exact * (1 - 1e-9) <= found <= exact * 1.0201


def test_times_that_are_none_do_no_harm() -> None:
    assert bucket_of(0.0) == bucket_of(-1.0) == bucket_of(math.nan) == 0


def test_of_no_times_there_is_no_quantile() -> None:
    assert quantile_s({}, 0.5) is None


def test_counts_add_up() -> None:
    assert merged([{1: 2, 3: 1}, {}, {1: 1}]) == {1: 3, 3: 1}
