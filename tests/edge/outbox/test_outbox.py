"""A queue that forgets nothing it has taken, and says what it had to drop."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from edge.errors import OutboxError
from edge.hub.batch import read
from edge.messages.telemetry import Gap
from edge.outbox.outbox import Outbox
from edge.outbox.record import (
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    MAX_BODY_BYTES,
    NewRecord,
    OutboxSettings,
)
from tests.edge.outbox.boxes import (
    Times,
    acknowledge,
    batches,
    gaps,
    held,
    limits,
    opened,
    record,
    records,
    wait_for,
)


def test_numbers_have_no_holes_and_each_stream_its_own(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as box:
        assert box.append(records(3)) == [1, 2, 3]
        assert box.append([record(9, stream=0), record(4), record(5)]) == [1, 4, 5]
        assert box.append([]) == []
        assert held(box) == {1: 1, 2: 2, 3: 3, 4: 4, 5: 5}
        assert held(box, stream=0) == {1: 9}
        assert gaps(box) == []


def test_what_was_taken_is_there_after_a_reopen_with_the_same_life(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as box:
        box.append(records(5))
        life = box.life
    with opened(tmp_path / "o.db") as box:
        assert box.life == life
        assert box.append([record(6)]) == [6]
        assert len(held(box)) == 6


def test_two_files_never_share_a_life(tmp_path: Path) -> None:
    with opened(tmp_path / "a.db") as a, opened(tmp_path / "b.db") as b:
        assert "" not in (a.life, b.life)
        assert a.life != b.life


def test_records_for_which_nobody_waits_are_written_together(tmp_path: Path) -> None:
    commits = []
    settings = OutboxSettings(linger_s=0.2)
    with opened(tmp_path / "o.db", settings=settings) as box:
        box.on_commit = lambda: commits.append(1)
        for number in range(200):
            assert box.append([record(number)], wait=False) == []
        wait_for(lambda: box.report().records == 200)
        assert len(commits) <= 10


def test_many_threads_get_numbers_of_their_own_and_share_commits(tmp_path: Path) -> None:
    commits = []
    numbers: list[int] = []

    def work(box: Outbox) -> None:
        for number in range(25):
            numbers.extend(box.append([record(number)]))

    with opened(tmp_path / "o.db") as box:
        box.on_commit = lambda: commits.append(1)
        threads = [threading.Thread(target=work, args=(box,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(numbers) == list(range(1, 201))
        assert sorted(held(box)) == list(range(1, 201))
        assert len(commits) < 200


def test_what_is_acknowledged_is_forgotten_once(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as box:
        box.append(records(10))
        acknowledge(box, 4)
        wait_for(lambda: box.report().records == 6)
        assert box.acknowledge(1, 2)
        assert box.acknowledge(1, 4)
        box.append([record(11)])
        assert sorted(held(box)) == [5, 6, 7, 8, 9, 10, 11]
        assert batches(box)[0].base == 5
    with opened(tmp_path / "o.db") as box:
        assert sorted(held(box)) == [5, 6, 7, 8, 9, 10, 11]
        assert box.append([record(12)]) == [12]


def test_numbers_go_on_after_all_was_acknowledged_and_reopened(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as box:
        box.append(records(10))
        acknowledge(box, 10)
        wait_for(lambda: box.report().records == 0)
        assert box.batch(1, 0) is None
    with opened(tmp_path / "o.db") as box:
        assert box.append([record(11)]) == [11]


def test_a_full_stream_drops_its_oldest_and_says_so_in_one_gap(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", settings=limits(records=10)) as box:
        for number in range(1, 31):
            box.append([record(number)])
        box.append([record(1, stream=0)])
        assert sorted(held(box)) == list(range(21, 31))
        assert gaps(box) == [Gap(1, 20, "full")]
        assert held(box, stream=0) == {1: 1}
        assert box.report().dropped == 20


def test_a_stream_is_full_by_bytes_too(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", settings=limits(size_bytes=10_000)) as box:
        box.append(records(50, pad=1000))
        assert 5 <= len(held(box)) <= 10
        assert box.report().size_bytes <= 10_000
        assert max(held(box)) == 50


def test_a_stream_that_rejects_keeps_what_it_has(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", settings=limits(records=10, on_full="reject")) as box:
        box.append(records(8))
        with pytest.raises(OutboxError, match="priority 1 of the outbox is full"):
            box.append(records(3, first=9))
        assert box.append(records(2, first=9)) == [9, 10]
        assert sorted(held(box)) == list(range(1, 11))
        box.append(records(4, first=11), wait=False)
        wait_for(lambda: box.report().dropped == 4)
        assert gaps(box) == [Gap(11, 14, "full")]
        acknowledge(box, 5)
        wait_for(lambda: box.report().records == 5)
        assert box.append([record(15)]) == [15]


def test_all_or_none_of_an_append_over_two_streams(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", settings=limits(records=2, on_full="reject")) as box:
        box.append(records(2))
        with pytest.raises(OutboxError):
            box.append([record(1, stream=0), record(3)])
        assert held(box, stream=0) == {}
        assert box.append([record(1, stream=0)]) == [1]


def test_gaps_are_cut_by_acknowledgements(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", settings=limits(records=5)) as box:
        box.append(records(20))
        acknowledge(box, 8)
        wait_for(lambda: batches(box)[0].first == 9)
        assert gaps(box) == [Gap(9, 15, "full")]


def test_a_record_expires_by_the_time_since_boot(tmp_path: Path) -> None:
    times = Times()
    with opened(tmp_path / "o.db", times.clock()) as box:
        box.append([record(1, ttl_s=10), record(2), record(3, ttl_s=100)])
        times.mono += 10_000
        assert sorted(held(box)) == [1, 2, 3]
        times.wall += 10**9
        assert sorted(held(box)) == [1, 2, 3]
        times.mono += 1
        assert sorted(held(box)) == [2, 3]
        assert gaps(box) == [Gap(1, 1, "expired")]


def test_a_record_of_an_earlier_boot_expires_only_when_that_is_sure(tmp_path: Path) -> None:
    times = Times(mono=50_000)
    with opened(tmp_path / "o.db", times.clock("boot-1")) as box:
        box.append([record(1, ttl_s=60)])
    # How long the power was away, nobody knows.
    times.mono = 10_000
    clock = times.clock("boot-2")
    with opened(tmp_path / "o.db", clock) as box:
        assert sorted(held(box)) == [1]
        times.mono = 60_001  # it has been on for longer than the record may live
        assert held(box) == {}
        assert gaps(box) == [Gap(1, 1, "expired")]


def test_the_hubs_time_tells_how_long_the_power_was_away(tmp_path: Path) -> None:
    times, path = Times(mono=50_000), tmp_path / "clock.json"
    clock = times.clock("boot-1", path)
    clock.observe(1_000_050_000, int(clock.mark()))
    with opened(tmp_path / "o.db", clock) as box:
        box.append([record(1, ttl_s=600), record(2, ttl_s=6000)])
    times.mono = 5_000
    clock = times.clock("boot-2", path)
    with opened(tmp_path / "o.db", clock) as box:
        assert sorted(held(box)) == [1, 2]
        clock.observe(1_000_050_000 + 3_600_000, int(clock.mark()))
        assert sorted(held(box)) == [2]


def test_a_batch_has_bounds_that_the_hub_takes(tmp_path: Path) -> None:
    noise = random.Random(5)
    with opened(tmp_path / "o.db") as box:
        box.append(records(1200))
        for _ in range(40):
            body = b'"' + noise.randbytes(15_000).hex().encode() + b'"'
            box.append([NewRecord(1, "module", "noise", body)])
        found, after = [], 0
        while (packet := box.packet(1, after)) is not None:
            assert len(packet.payload) <= MAX_BATCH_BYTES
            assert len(packet.batch.records) <= MAX_BATCH_RECORDS
            assert read(packet.payload).last == packet.batch.last
            found.append(packet)
            after = packet.batch.last
        assert after == 1240
        assert all(b.batch.first == a.batch.last + 1 for a, b in pairwise(found))
        assert len(found) < 30


def test_a_batch_has_at_least_one_record(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as box:
        noise = random.Random(6).randbytes(30_000).hex()
        box.append([NewRecord(1, "m", "k", f'"{noise}"'.encode())] * 2)
        packet = box.packet(1, 0, 1)
        assert packet is not None
        assert packet.batch.last == 1


@pytest.mark.parametrize("stream", [-1, 4])
def test_a_priority_that_is_none_is_refused(tmp_path: Path, stream: int) -> None:
    with opened(tmp_path / "o.db") as box, pytest.raises(OutboxError, match="no priority"):
        box.append([record(1, stream=stream)])


def test_a_record_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as box:
        with pytest.raises(OutboxError, match="too large"):
            box.append([NewRecord(1, "m", "k", b'"' + b"x" * MAX_BODY_BYTES + b'"')])
        assert box.append([record(1)]) == [1]


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b'"\xff"', b'"\\ud800"', b"[" * 9000])
def test_a_body_that_the_hub_would_refuse_is_refused(tmp_path: Path, body: bytes) -> None:
    with opened(tmp_path / "o.db") as box, pytest.raises(OutboxError, match="no JSON"):
        box.append([record(1), NewRecord(1, "m", "k", body)])


def test_a_closed_outbox_says_so_and_has_written_what_was_queued(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", settings=OutboxSettings(linger_s=5)) as box:
        box.append(records(50), wait=False)
        box.close()
        box.close()
        with pytest.raises(OutboxError, match="closed"):
            box.append([record(51)])
    with opened(tmp_path / "o.db") as box:
        assert len(held(box)) == 50


def test_notes_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as box:
        assert box.noted("budget") is None
        box.note("budget", b"1")
        box.note("budget", b"2")
        assert box.noted("budget") == b"2"
    with opened(tmp_path / "o.db") as box:
        assert box.noted("budget") == b"2"


def test_how_old_the_oldest_is(tmp_path: Path) -> None:
    times = Times()
    with opened(tmp_path / "o.db", times.clock()) as box:
        assert box.report().oldest_age_s is None
        box.append([record(1)])
        times.mono += 5_000
        box.append([record(2, stream=0)])
        assert box.report().oldest_age_s == 5.0


def test_a_time_that_was_not_known_when_it_was_stored_is_told_later(tmp_path: Path) -> None:
    times = Times()
    clock = times.clock()
    with opened(tmp_path / "o.db", clock) as box:
        box.append([record(1)])
        assert batches(box)[0].records[0].time_ms is None
        times.mono += 500
        clock.observe(5_000_000, int(clock.mark()))
        assert batches(box)[0].records[0].time_ms == pytest.approx(5_000_000 - 500, abs=2)
        assert batches(box)[0].records[0].clock_ms == times.wall


def test_a_restored_older_file_begins_a_new_life_with_all_that_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    with opened(path) as box:
        box.append(records(10))
    copy = path.read_bytes()
    with opened(path) as box:
        box.append(records(10, first=11))
        life = box.life
    path.write_bytes(copy)
    with opened(path) as box:
        assert box.life == life
        assert not box.acknowledge(1, 20)  # the hub has what was lost here
        wait_for(lambda: box.life != life)
        assert sorted(held(box).values()) == list(range(1, 11))
        assert box.append([record(21)]) == [11]


def test_an_acknowledgement_of_nonsense_is_passed_over(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db") as box:
        box.append(records(3))
        assert box.acknowledge(77, 5)
        assert box.acknowledge(1, 0)
        assert box.acknowledge(1, -5)
        assert sorted(held(box)) == [1, 2, 3]


def _pages(path: Path) -> int:
    return path.stat().st_size // 4096


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_file_is_set_aside_and_what_it_tells_is_kept(tmp_path: Path, seed: int) -> None:
    path, noise = tmp_path / "o.db", random.Random(seed)
    with opened(path) as box:
        box.append(records(300, pad=200))
        life = box.life
    with open(path, "r+b") as file:
        for _ in range(3):
            file.seek(4096 * noise.randrange(0 if seed == 0 else 8, _pages(path)))
            file.write(noise.randbytes(4096))
        if seed == 0:
            file.seek(0)
            file.write(noise.randbytes(4096))
    with (
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other,
        contextlib.suppress(sqlite3.DatabaseError),
    ):
        other.execute("UPDATE file SET is_clean = 0")  # as a power cut leaves it
    with opened(path, Times().clock("boot-2")) as box:
        numbers = box.append([record(301)])
        found = held(box)
        assert found[numbers[0]] == 301
        if box.life == life:  # the damage was in pages that hold nothing now
            return
        assert (tmp_path / "o.db.damaged").exists()
        if seed:
            assert len(found) > 1
        events = [r for b in batches(box, 0) for r in b.records]
        assert [bytes(e.body)[:27] for e in events] == [b'{"event": "outbox damaged",']
        lengths = sum(len(b.records) + sum(g.last - g.first + 1 for g in b.gaps)
                      for b in batches(box))  # fmt: skip
        assert lengths == numbers[0]


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "o.db").write_bytes(os.urandom(50_000))
    with opened(tmp_path / "o.db") as box:
        assert box.append([record(1)]) == [1]
        assert (tmp_path / "o.db.damaged").stat().st_size == 50_000


def test_damage_that_is_found_while_it_runs_costs_no_new_records(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    with opened(path) as box:
        box.append(records(400, pad=500))
    with opened(path) as box:
        life = box.life
        with open(path, "r+b") as file:
            file.seek(4096 * 12)
            file.write(os.urandom(4096 * 8))
        after = 0
        while box.life == life and (batch := box.batch(1, after)) is not None:
            after = batch.last
        wait_for(lambda: box.life != life)
        wait_for(lambda: box.batch(1, 0) is not None)
        box.append([record(401)])
        assert 401 in held(box).values()
        assert len(held(box)) > 100
