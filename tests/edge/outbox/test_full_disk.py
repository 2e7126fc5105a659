"""A full disk: what was durable stays, the rest is said to be lost, and it ends by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import OutboxError
from edge.messages.telemetry import Gap
from edge.outbox.outbox import Outbox
from tests.edge.outbox.boxes import acknowledge, gaps, held, limits, opened, record, wait_for

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs"),
]
SETTINGS = limits(size_bytes=2**30)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "inferry-test", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def _fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    return ballast


def _append_until_full(box: Outbox, pad: int) -> int:
    """Returns how many it took."""
    for number in range(1, 2000):
        try:
            box.append([record(number, pad=pad)])
        except OutboxError as error:
            if "the disk is full" not in str(error):
                raise
            return number - 1
    raise AssertionError("it is never full")


def test_a_full_disk_refuses_then_takes_again_by_itself(small_disk: Path) -> None:
    with opened(small_disk / "o.db", settings=SETTINGS) as box:
        box.append([record(0)])
        ballast = _fill(small_disk)
        number = _append_until_full(box, 60_000)
        kept = held(box)
        assert sorted(kept) == list(range(1, number + 2))
        for lost in range(7):
            box.append([record(1000 + lost)], wait=False)
        wait_for(lambda: box.report().dropped >= 7)
        ballast.unlink()
        wait_for(lambda: bool(gaps(box)))
        assert box.append([record(2000)])[0] >= number + 7
        assert kept.items() <= held(box).items()
        assert 2000 in held(box).values()
        assert [gap.reason for gap in gaps(box)] == ["full"]
        assert sum(g.last - g.first + 1 for g in gaps(box)) == 7


def test_acknowledgements_make_room_on_a_full_disk(small_disk: Path) -> None:
    with opened(small_disk / "o.db", settings=SETTINGS) as box:
        _append_until_full(box, 50_000)
        last = max(held(box))
        acknowledge(box, last)
        wait_for(lambda: box.report().records == 0)
        assert box.append([record(1)]) == [last + 1]
        assert gaps(box) == []


def test_an_outbox_that_cannot_be_made_is_made_later(small_disk: Path) -> None:
    ballast = _fill(small_disk)
    with opened(small_disk / "o.db", settings=SETTINGS) as box:
        with pytest.raises(OutboxError, match="the disk is full"):
            box.append([record(1)])
        assert box.life == ""
        assert box.batch(1, 0) is None
        box.append([record(2)], wait=False)
        wait_for(lambda: box.report().dropped == 1)  # before there is room for it
        ballast.unlink()
        wait_for(lambda: box.life != "")
        wait_for(lambda: gaps(box) == [Gap(1, 1, "full")])
        assert box.append([record(3)]) == [2]


def test_what_a_full_disk_holds_is_sent_after_a_restart(small_disk: Path) -> None:
    with opened(small_disk / "o.db", settings=SETTINGS) as box:
        number = _append_until_full(box, 20_000)
    with opened(small_disk / "o.db", settings=SETTINGS) as box:
        assert len(held(box)) == number
        acknowledge(box, number)
        wait_for(lambda: box.report().records == 0)
        for each in range(30):  # though the file gives no room back
            assert box.append([record(each)]) == [number + 1 + each]
