"""The measures of the herd and of an idle connection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.edge import herd, idle
from benchmarks.edge.herd import Load, Seen, peak, wait_s
from benchmarks.edge.idle import Traffic
from edge.link.backoff import Backoff


def test_the_busiest_window_is_found_wherever_it_begins() -> None:
    assert peak([], 1.0) == 0
    assert peak([5.0, 0.1, 0.9, 1.05, 1.2], 1.0) == 3
    assert peak([0.0, 1.0, 2.0], 1.0) == 1


def test_without_jitter_everybody_waits_the_same() -> None:
    backoff, waits = Backoff(1.0, 120.0, spread=10.0), []
    for _ in range(9):
        waits.append(wait_s(backoff, False, lambda: 0.3))
        backoff = backoff.failed()
    assert waits == [1, 2, 4, 8, 16, 32, 64, 120, 120]
    assert wait_s(Backoff(1.0, 120.0, 1), True, lambda: 0.25) == 0.5


def test_a_herd_that_never_comes_back_is_not_reached() -> None:
    seen = Seen(10, 5, None, None, 3)
    found = herd.findings(Load(devices=100), seen, seen)
    assert [one.reached for one in found] == [True, False]
    assert found[1].measured == "never (all: never); without jitter never"


def test_a_day_is_pings_reports_and_connections() -> None:
    seen = idle.Seen(Traffic(4_000, 20), Traffic(480, 30), 10, 50.0, Traffic(8_000, 30))
    day = seen.day(900, 3600)
    assert day.payload_bytes == 48 * 96 + 800 * 24 + 4_000 * 5
    assert day.wire_bytes == day.payload_bytes + 52 * (3 * 96 + 3 * 24 + 20 * 5)
    found = idle.findings(seen)
    assert [one.reached for one in found] == [None, None, None, True]
    much = idle.findings(replace(seen, reports=Traffic(40_000, 30)))
    assert much[-1].reached is False


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.usefixtures("mosquittos")
def test_they_measure(tmp_path: Path) -> None:
    load = Load(devices=20, down_s=0.3, patience_s=40, min_wait_s=0.05)
    (tmp_path / "herd").mkdir()
    seen = herd.measure(load, tmp_path / "herd")
    assert seen.back_s is not None
    assert 1 <= seen.tenth <= seen.peak
    quiet = idle.measure(tmp_path / "idle", 1, keepalive_s=1)
    assert quiet.connection.payload_bytes > 1_000
    assert 100 < quiet.idle.wire_bytes / quiet.pings < 500
    assert 500 < quiet.reports.wire_bytes / idle.REPORTS < 3_000
