"""A clock that may, and one that may not, judge certificates."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from edge.enrolment import Authority
from edge.link.dates import is_clock_right, validity

MADE = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)
NOW = MADE.timestamp()
DAY = 86_400.0
OWN = (NOW - 3600, NOW + 730 * DAY)


@pytest.mark.parametrize("year", [2026, 2049, 2060])
def test_the_dates_of_our_own_certificate_are_read(year: int, tmp_path: Path) -> None:
    made = MADE.replace(year=year)
    pem = Authority.load_or_create(tmp_path, lambda: made).issue_device("press-1").certificate
    found = validity(pem)
    assert found is not None
    assert found[0] == made.timestamp() - 3600
    assert found[1] == made.timestamp() + 730 * DAY


CUT = b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----"


@pytest.mark.parametrize("pem", [b"", CUT % b"%", CUT % b"AAAA"])
def test_what_is_no_certificate_has_no_dates(pem: bytes) -> None:
    assert validity(pem) is None


@pytest.mark.parametrize("wrong", [0.0, NOW - DAY, NOW + 731 * DAY, NOW + 20_000 * DAY])
def test_a_clock_outside_of_our_own_certificate_s_life_is_wrong(wrong: float) -> None:
    assert not is_clock_right(wrong, OWN, None)
    assert is_clock_right(NOW, OWN, None)


def test_the_hub_s_time_says_more() -> None:
    assert not is_clock_right(NOW + DAY, OWN, NOW)
    assert is_clock_right(NOW + 60, OWN, NOW)
