from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from runtime.hooks.delivery import LONGEST_WAIT_S, TRIES, retry_after_s, wait_s

NOW = datetime(2026, 11, 27, 8, 0, 0, tzinfo=UTC)


def test_waits_grow_and_end() -> None:
    assert [wait_s(tries, None, None, math.inf) for tries in range(1, TRIES + 1)] == [
        1,
        2,
        4,
        8,
        None,
    ]


@pytest.mark.parametrize("status", [200, 301, 400, 401, 404, 409, 410, 501])
def test_what_will_not_be_better_is_not_tried_again(status: int) -> None:
    assert wait_s(1, status, None, math.inf) is None


def test_retry_after_is_waited_for_but_not_for_ever_and_not_beyond_the_time() -> None:
    assert wait_s(1, 503, 20.0, math.inf) == 20
    assert wait_s(3, 429, 1.0, math.inf) == 4
    assert wait_s(1, 503, LONGEST_WAIT_S + 1, math.inf) is None
    assert wait_s(1, 503, 20.0, 20.0) is None
    assert wait_s(1, None, None, 0.5) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("Fri, 27 Nov 2026 08:00:30 GMT", 30),
        ("Fri, 27 Nov 2026 07:00:00 GMT", 0),
        ("-5", None),
        ("7.5", None),
        ("1" * 30, None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("Fri, 99 Nov 2026 08:00:30 GMT", None),
        ("x" * 10_000, None),
    ],
)
def test_retry_after_in_either_form(text: str | None, seconds: float | None) -> None:
    assert retry_after_s(text, NOW) == seconds
