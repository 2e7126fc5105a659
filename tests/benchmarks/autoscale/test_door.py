from __future__ import annotations

from benchmarks.autoscale.door import tried
from benchmarks.autoscale.service import Service


def test_what_can_be_done_is_done_in_time() -> None:
    door = tried(Service(), 0.9, seconds=20.0)
    assert door.in_time == door.offered > 1000
    assert max(door.batches) > 8


def test_what_cannot_be_done_is_refused_or_expires_and_none_is_forgotten() -> None:
    door = tried(Service(), 1.5, seconds=20.0)
    assert door.in_time + door.refused + door.expired == door.offered
