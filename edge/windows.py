"""When something may happen: spans of each day, in UTC.

night = parse("22:00-04:00")
is_open((night,), now_s)          # now_s: since 1970
opens_in_s((night,), now_s)       # 0.0 when it is open
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from edge.errors import InvalidSpecError
from edge.messages.desired import Window

DAY_MINUTES = 24 * 60
DAY_S = DAY_MINUTES * 60.0
_SPAN = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})")


def parse(text: str) -> Window:
    """Of "22:00-04:00" (UTC). Raises InvalidSpecError."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise InvalidSpecError(f"{ascii(text)[:60]} is no window; write it like 22:00-04:00 (UTC)")
    hour, minute, end_hour, end_minute = (int(part) for part in match.groups())
    if minute > 59 or end_minute > 59:
        raise InvalidSpecError(f"{text.strip()} is no window: an hour has 60 minutes")
    return check(Window(hour * 60 + minute, end_hour * 60 + end_minute))


def check(window: Window) -> Window:
    """Raises InvalidSpecError for one that never opens, or names no minutes of a day."""
    if not (0 <= window.start <= DAY_MINUTES and 0 <= window.end <= DAY_MINUTES):
        raise InvalidSpecError(
            f"a window is within a day: 0 to {DAY_MINUTES} minutes, not"
            f" {window.start} to {window.end}"
        )
    if window.start == window.end:
        raise InvalidSpecError(
            "a window that ends when it begins never opens; leave windows out for any time,"
            " or write 00:00-24:00"
        )
    return window


def is_open(windows: Sequence[Window], now_s: float) -> bool:
    """Whether it may happen now. No windows: always."""
    return opens_in_s(windows, now_s) == 0.0


def opens_in_s(windows: Sequence[Window], now_s: float) -> float:
    """How long until it may happen: 0.0 now, at most a day. No windows: always now."""
    if not windows:
        return 0.0
    return min(_opens_in_s(window, now_s % DAY_S) for window in windows)


def _opens_in_s(window: Window, second: float) -> float:
    start, length = _span_s(window)
    since_start = (second - start) % DAY_S
    return 0.0 if since_start < length else DAY_S - since_start


def _span_s(window: Window) -> tuple[float, float]:
    """Where it begins and how long it is. A window that ``check`` would refuse is the whole day
    rather than one that never opens: a device must not wait for ever."""
    start = window.start % DAY_MINUTES
    length = (window.end - window.start) % DAY_MINUTES
    return start * 60.0, length * 60.0 if length else DAY_S
