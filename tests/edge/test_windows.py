"""Windows are open when they say, also over midnight, and none is for ever shut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import InvalidSpecError
from edge.messages.desired import Window
from edge.windows import DAY_S, check, is_open, opens_in_s, parse

NOON_S = 20_000 * DAY_S + DAY_S / 2
WINDOWS = st.builds(Window, st.integers(-3000, 3000), st.integers(-3000, 3000))


@pytest.mark.parametrize(
    ("windows", "opens_in"),
    [
        ([], 0.0),
        (["11:00-13:00"], 0.0),
        (["12:00-13:00"], 0.0),
        (["11:00-12:00"], 23 * 3600.0),
        (["22:00-04:00"], 10 * 3600.0),
        (["22:00-12:01"], 0.0),
        (["13:00-11:00"], 3600.0),
        (["00:00-24:00"], 0.0),
        (["12:01-24:00"], 60.0),
        (["22:00-04:00", "12:30-12:31"], 1800.0),
    ],
)
def test_windows_open_when_they_say(windows: list[str], opens_in: float) -> None:
    spans = [parse(text) for text in windows]
    assert opens_in_s(spans, NOON_S) == opens_in
    assert is_open(spans, NOON_S) is (opens_in == 0.0)


@pytest.mark.parametrize("text", ["", "22-04", "22:00", "25:00-26:00", "10:60-11:00", "1:00-1:00"])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError):
        parse(text)


@pytest.mark.parametrize("window", [Window(-1, 5), Window(0, 1441), Window(7, 7)])
def test_a_window_outside_of_a_day_or_empty_is_refused(window: Window) -> None:
    with pytest.raises(InvalidSpecError):
        check(window)


@given(st.lists(WINDOWS, max_size=4), st.floats(-1e6, 4e9))
def test_whatever_a_window_says_it_opens_within_a_day(windows: list[Window], now: float) -> None:
    wait = opens_in_s(windows, now)
    assert 0.0 <= wait <= DAY_S
    if wait:
        assert not is_open(windows, now)
        assert opens_in_s(windows, now + wait + 1e-3) < 1.0


@given(st.integers(0, 1439), st.integers(0, 1440), st.integers(0, 1439))
def test_a_minute_is_open_exactly_when_it_lies_in_the_span(
    start: int, end: int, minute: int
) -> None:
    if start == end:
        return
    inside = start <= minute < end if start < end else minute >= start or minute < end
    assert is_open([Window(start, end)], minute * 60.0) is inside
