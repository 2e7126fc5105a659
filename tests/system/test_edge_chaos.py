"""Nothing is lost while everything is killed. The full measure: benchmarks/edge/chaos.py."""

from __future__ import annotations

import pytest

from benchmarks.edge import chaos


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.timeout(280)
def test_no_message_is_lost_or_doubled_by_kills_cuts_and_a_clock_that_jumps() -> None:
    result = chaos.run(messages=1600, rate=160, kills=6, cuts=2, jumps=3, seed=7)
    assert result.produced == 1600
    assert (result.lost, result.duplicates_after_dedupe, result.gaps) == (0, 0, 0)
    assert set(result.kills.values()) == {2}
    assert result.time_error_s < 10
