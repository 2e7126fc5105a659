"""A device's time does not need its wall clock."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edge.clock import (
    KEPT_BOOTS,
    MAX_ROUND_TRIP_MS,
    SAMPLE_AGE_MS,
    DeviceClock,
    Sample,
    Stamp,
    best,
    fold,
    measure,
)
from tests.edge.outbox.boxes import Times

HUB = 1_800_000_000_000


def _heard(clock: DeviceClock, times: Times, *, there: int = 50, back: int = 50) -> bool:
    """An Ack of a hub whose clock is HUB before ours."""
    mark = int(clock.mark())
    times.mono += there
    hub_ms = HUB + times.mono
    times.mono += back
    return clock.observe(hub_ms, mark)


def test_the_hubs_time_is_known_after_its_first_answer() -> None:
    times = Times()
    clock = times.clock()
    assert clock.hub_now_ms() is None
    assert _heard(clock, times)
    assert clock.hub_now_ms() == HUB + times.mono


def test_a_wall_clock_that_jumps_changes_nothing() -> None:
    times = Times()
    clock = times.clock()
    stamp = clock.stamp()
    _heard(clock, times)
    for wall in (0, times.wall + 86_400_000, -5):
        times.wall = wall
        assert clock.hub_time_ms(stamp) == HUB + stamp.mono_ms
        assert clock.hub_now_ms() == HUB + times.mono
        assert _heard(clock, times)


def test_an_echo_of_another_boot_or_of_nobody_tells_nothing() -> None:
    times = Times(mono=1_000_000)
    before = times.clock("boot-1")
    mark = int(before.mark())
    times.mono = 900_000
    clock = times.clock("boot-2")
    clock.mark()
    assert not clock.observe(HUB, mark)
    assert not clock.observe(HUB, None)
    assert not clock.observe(HUB, 12)
    assert not clock.observe(HUB, -1)
    assert clock.hub_now_ms() is None


def test_an_answer_that_was_long_on_its_way_tells_nothing() -> None:
    times = Times()
    clock = times.clock()
    assert not _heard(clock, times, back=MAX_ROUND_TRIP_MS)
    assert clock.hub_now_ms() is None


def test_the_quickest_answer_counts() -> None:
    times = Times()
    clock = times.clock()
    _heard(clock, times, there=10, back=9_000)
    _heard(clock, times, there=5, back=5)
    _heard(clock, times, there=20_000, back=10)
    assert clock.hub_now_ms() == HUB + times.mono


def test_marks_are_each_a_larger_number() -> None:
    clock = Times().clock()
    marks = [int(clock.mark()) for _ in range(5)]
    assert marks == sorted(set(marks))


def test_a_hub_whose_clock_was_set_is_followed() -> None:
    times = Times()
    clock = times.clock()
    _heard(clock, times)
    mark = int(clock.mark())
    times.mono += 10
    clock.observe(HUB + 3_600_000 + times.mono, mark)
    now = clock.hub_now_ms()
    assert now is not None
    assert abs(now - (HUB + 3_600_000 + times.mono)) < 20


def test_what_was_stamped_before_a_power_cut_gets_its_time_after_it(tmp_path: Path) -> None:
    times = Times()
    clock = times.clock("boot-1", tmp_path / "clock.json")
    stamp = clock.stamp()
    _heard(clock, times)
    times.mono = 3
    clock = times.clock("boot-2", tmp_path / "clock.json")
    assert clock.hub_time_ms(stamp) == HUB + stamp.mono_ms
    assert clock.hub_now_ms() is None
    assert clock.hub_time_ms(Stamp("boot-0", 1)) is None


def test_boots_of_long_ago_are_forgotten(tmp_path: Path) -> None:
    for number in range(KEPT_BOOTS + 10):
        times = Times()
        clock = times.clock(f"boot-{number}", tmp_path / "clock.json")
        _heard(clock, times)
    clock = Times().clock("last", tmp_path / "clock.json")
    assert clock.hub_time_ms(Stamp("boot-0", 0)) is None
    assert clock.hub_time_ms(Stamp(f"boot-{KEPT_BOOTS + 9}", 0)) == HUB


def test_a_file_that_is_damaged_is_as_none(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    for data in (b"", b"\xff", b"[]", b'{"boots": {"a": "x"}}', b'{"boots": 1}', b"[" * 10_000,
                 b'{"boots": {"a": 1e999}}'):  # fmt: skip
        path.write_bytes(data)
        times = Times()
        clock = times.clock("a", path)
        assert clock.hub_now_ms() is None
        assert _heard(clock, times)


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    times = Times()
    clock = times.clock("a", tmp_path / "nowhere" / "clock.json")
    assert _heard(clock, times)
    assert clock.hub_now_ms() == HUB + times.mono


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 20_000)), min_size=1, max_size=40))
def test_the_error_is_never_more_than_it_says(trips: list[tuple[int, int]]) -> None:
    mono = 0
    samples: tuple[Sample, ...] = ()
    for there, back in trips:
        sample = measure(HUB + mono + there, mono, mono + there + back)
        assert sample is not None
        assert abs(sample.offset_ms - HUB) <= sample.error_ms
        mono += there + back
        samples = fold(samples, sample)
    found = best(samples)
    assert found is not None
    assert found.error_ms == min(s.error_ms for s in samples)
    assert all(samples[-1].at_ms - s.at_ms <= SAMPLE_AGE_MS for s in samples)
