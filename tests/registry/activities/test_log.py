"""The log of an activity: whole lines, bounded, and never a reason to stop."""

from __future__ import annotations

import threading
from pathlib import Path

from registry.activities import Activities
from registry.activities.log import FULL, MAX_LINE_CHARS, ActivityLog, read_log

NOON = "2026-11-26T12:00:00Z"


def _log(path: Path, **how: int) -> ActivityLog:
    return ActivityLog(path, lambda: NOON, **how)


def test_each_line_has_its_time_and_nothing_that_moves_a_cursor(tmp_path: Path) -> None:
    log = _log(tmp_path / "log")
    log.add("one\r\ntwo\x1b[31m\x00\udcff")
    log.add("")
    log.add("a\tb\x9b")
    log.end("succeeded")
    assert (tmp_path / "log").read_text().splitlines() == [
        f"{NOON} one",
        rf"{NOON} two\x1b[31m\x00\udcff",
        f"{NOON} ",
        f"{NOON} a\tb\\x9b",
        f"{NOON} succeeded",
    ]


def test_a_full_log_still_says_how_it_ended(tmp_path: Path) -> None:
    log = _log(tmp_path / "log", max_bytes=2000)
    for _ in range(1000):
        log.add("x" * 79)
    log.end("failed: too much")
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[-2:] == [f"{NOON} {FULL}", f"{NOON} failed: too much"]
    assert len(lines) < 25


def test_a_long_line_is_cut(tmp_path: Path) -> None:
    log = _log(tmp_path / "log")
    log.add("y" * 1_000_000)
    assert len((tmp_path / "log").read_text()) < MAX_LINE_CHARS + 50


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    log = _log(tmp_path / "no folder" / "log")
    log.add("lost")
    log.end("succeeded")
    assert read_log(tmp_path / "no folder" / "log", 0) == b""


def test_threads_write_whole_lines(activities: Activities) -> None:
    with activities.start(kind="image", subject="i") as activity:

        def speak(number: int) -> None:
            for _ in range(100):
                activity.log(f"{number} {str(number) * 200}")

        threads = [threading.Thread(target=speak, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = activities.log(activity.id).decode().splitlines()
    assert len(lines) == 401
    assert all(line.split(" ")[2] == line.split(" ")[1] * 200 for line in lines[:-1])


def test_a_client_follows_it_by_offsets(activities: Activities) -> None:
    with activities.start(kind="image", subject="i") as activity:
        activity.log("first")
        first = activities.log(activity.id)
        activity.log("second")
        assert activities.log(activity.id, len(first)).endswith(b" second\n")
    assert activities.log(activity.id, 10**9) == b""
    assert activities.log(activity.id, -5) == activities.log(activity.id)


def test_a_thread_that_outlives_its_activity_is_not_heard(activities: Activities) -> None:
    with activities.start(kind="image", subject="i") as activity:
        pass
    before = activities.log(activity.id)
    activity.log("too late")
    assert activities.log(activity.id) == before
