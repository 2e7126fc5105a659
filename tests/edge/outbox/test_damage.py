"""What a disk that errs, or is stuck, does to an outbox."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import threading
import tracemalloc
from pathlib import Path

import pytest

from edge.clock import Stamp
from edge.errors import OutboxError
from edge.outbox import salvage
from edge.outbox.record import OutboxSettings
from tests.edge.outbox.boxes import (
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


def _change(path: Path, statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(statement, values)


def test_what_the_hub_has_of_the_old_life_is_not_forgotten_of_the_new(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", settings=OutboxSettings(linger_s=2.0)) as box:
        box.append(records(300))
        acknowledge(box, 100)
        wait_for(lambda: box.streams[1].base == 101)
        batches(box)
        life = box.life
        assert box.acknowledge(1, 150)
        assert not box.acknowledge(1, 10_000)  # with the one before, before that was written
        wait_for(lambda: box.life != life)
        box.append([record(301)])
        assert set(range(151, 302)) <= set(held(box).values())
        assert not gaps(box)


def test_an_answer_to_an_old_life_is_passed_over(tmp_path: Path) -> None:
    with opened(tmp_path / "o.db", settings=limits()) as box:
        box.append(records(10))
        batches(box)
        assert box.acknowledge(1, 10, life="an older one")
        box.append([record(11)])
        assert len(held(box)) == 11
        assert box.acknowledge(1, 10, life=box.life)
        wait_for(lambda: list(held(box)) == [11])


def test_what_was_refused_as_too_late_is_not_stored_later(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    settings = dataclasses.replace(limits(), append_timeout_s=0.2)
    with opened(path, settings=settings) as box:
        box.append([record(1)])
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for number in (2, 3):
                with pytest.raises(OutboxError, match="in time"):
                    box.append([record(number)])
            other.execute("COMMIT")
        box.append([record(4)])
        assert held(box) == {1: 1, 2: 4}


def test_an_append_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    """It will be stored: who is told that it was not would send it twice."""
    settings = dataclasses.replace(limits(), append_timeout_s=0.3)
    begun, go = threading.Event(), threading.Event()
    with opened(tmp_path / "o.db", settings=settings) as box:
        box.append([record(1)])
        table = box._file.table
        assert table is not None
        save = table.save

        def slowly(stamp: Stamp | None = None) -> None:
            begun.set()
            assert go.wait(60)
            save(stamp)

        table.save = slowly  # type: ignore[method-assign]
        found: list[list[int]] = []
        thread = threading.Thread(target=lambda: found.append(box.append([record(2)])))
        thread.start()
        assert begun.wait(60)
        thread.join(0.4)  # longer than an append may wait
        assert thread.is_alive()
        go.set()
        thread.join(60)
        assert found == [[2]]


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("UPDATE records SET body = ? WHERE id & 0xFF = 5", b'{"n": 5, \xff'),
        ("UPDATE records SET body = ? WHERE id & 0xFF = 5", b'{"n": '),
        ("UPDATE records SET body = NULL OR ? WHERE id & 0xFF = 5", "text"),
    ],
)
def test_a_body_that_is_none_any_more_stands_in_no_way(
    tmp_path: Path, change: str, value: object
) -> None:
    """SQLite has no checksums. The hub refuses a batch that it cannot read, again and again."""
    path = tmp_path / "o.db"
    with opened(path, settings=limits()) as box:
        box.append(records(9))
        _change(path, change.replace("NULL OR ", ""), value)
        assert [record.seq for batch in batches(box) for record in batch.records] == [
            1, 2, 3, 4, 6, 7, 8, 9,
        ]  # fmt: skip
        assert [(gap.first, gap.last, gap.reason) for gap in gaps(box)] == [(5, 5, "damaged")]
        acknowledge(box, 9)
        wait_for(lambda: box.report().records == 0)


def test_a_word_that_is_no_text_any_more_stands_in_no_way(tmp_path: Path) -> None:
    path = tmp_path / "o.db"
    with opened(path, settings=limits()) as box:
        box.append(records(9))
        _change(path, "UPDATE records SET kind = CAST(x'6bff' AS TEXT) WHERE id & 0xFF = 5")
        assert sorted(held(box)) == list(range(1, 10))
        assert [r.kind for b in batches(box) for r in b.records if r.seq == 5] == ["k\ufffd"]


def test_a_salvage_needs_little_memory(tmp_path: Path) -> None:
    """Or the agent of a small device would be killed for it at each start."""
    path = tmp_path / "o.db"
    with opened(path, settings=limits()) as box:
        for first in range(1, 1001, 100):
            box.append(records(100, first=first, pad=20_000))
    new = tmp_path / "new.db"
    with opened(new):
        pass
    with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as into:
        into.execute("BEGIN IMMEDIATE")
        tracemalloc.start()
        try:
            assert salvage.restore(into, path) == 1000
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        into.execute("COMMIT")
    assert peak_bytes < 4_000_000  # of 20 MB
    with opened(new) as box:
        assert len(held(box)) == 1000


def test_a_salvage_that_fails_at_first_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs as much room as what it saves."""
    restore, tries = salvage.restore, [0]

    def failing(into: sqlite3.Connection, path: Path) -> int:
        tries[0] += 1
        if tries[0] == 1:
            raise sqlite3.OperationalError("database or disk is full")
        return restore(into, path)

    with opened(tmp_path / "o.db", settings=limits()) as box:
        box.append(records(20))
        life = box.life
        monkeypatch.setattr(salvage, "restore", failing)
        assert not box.acknowledge(1, 10_000)
        wait_for(lambda: box.life != life)
        assert sorted(held(box).values()) == list(range(1, 21))
        box.append([record(21)])
        assert len(held(box)) == 21
