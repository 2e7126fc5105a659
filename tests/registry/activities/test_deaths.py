"""Processes that die, disks that fill up, and a database that another holds."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from registry import Workspace
from registry.activities import Activities
from registry.activities.record import DEAD
from registry.database import Database
from registry.errors import CancelledError, ImmutableError, StoreFullError
from tests.registry.activities.conftest import activities_of

CHILD = """
import sys
from pathlib import Path
from tests.registry.activities.conftest import activities_of
from registry.errors import CancelledError
try:
    with activities_of(Path(sys.argv[1])).start(kind="image", subject="i") as activity:
        activity.phase("Packing", total=100)
        activity.log("here I am")
        print(activity.id, flush=True)
        for line in sys.stdin:
            activity.phase("Packing more")
            print("on", flush=True)
except CancelledError:
    print("cancelled", flush=True)
"""


class Child:
    """A process with an activity."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        self.id = self._line()

    def go_on(self) -> str:
        """Lets it reach a point of cancel; what it says."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._line()

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture
def child(root: Path) -> Iterator[Child]:
    """One that runs."""
    made = Child(root)
    try:
        yield made
    finally:
        made.kill()


def _row(root: Path, id: str) -> tuple[str, str | None]:
    with Database(root / "workspace.db").read() as connection:
        row = connection.execute(
            "SELECT state, cause FROM activities WHERE id = ?", (id,)
        ).fetchone()
        return row[0], row[1]


def test_the_activity_of_a_dead_process_is_failed(
    activities: Activities, root: Path, child: Child
) -> None:
    assert activities.get(child.id).is_running
    assert [a.id for a in activities.list(running_only=True)] == [child.id]
    child.kill()
    seen = activities.get(child.id)
    assert (seen.state, seen.cause, seen.phase) == ("failed", DEAD, "Packing")
    assert activities.list(running_only=True) == []
    assert activities.log(child.id).endswith(b" here I am\n")
    assert _row(root, child.id) == ("running", None)
    with activities.start(kind="image", subject="the next writer"):
        assert _row(root, child.id) == ("failed", DEAD)
    assert not list((root / "activities").glob("*.lock"))


def test_the_activity_of_a_dead_process_cannot_be_cancelled(
    activities: Activities, child: Child
) -> None:
    child.kill()
    with pytest.raises(ImmutableError, match="ended already: failed"):
        activities.cancel(child.id)
    assert activities.get(child.id).cause == DEAD


def test_another_process_is_cancelled(activities: Activities, child: Child) -> None:
    assert child.go_on() == "on"
    activities.cancel(child.id)
    assert child.go_on() == "cancelled"
    assert activities.get(child.id).state == "cancelled"


def test_who_looks_at_the_same_time_does_not_take_each_other_for_the_process(
    activities: Activities, root: Path, child: Child
) -> None:
    child.kill()
    states: list[str] = []

    def look() -> None:
        own = activities_of(root)
        states.extend(own.get(child.id).state for _ in range(100))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states == ["failed"] * 400


def test_nobody_sees_a_failure_while_activities_end_well(
    activities: Activities, root: Path
) -> None:
    seen: set[str] = set()
    is_over = threading.Event()

    def look() -> None:
        own = activities_of(root)
        while not is_over.is_set():
            seen.update(activity.state for activity in own.list(limit=5))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(60):
        with activities.start(kind="image", subject=str(number)):
            pass
    is_over.set()
    for thread in threads:
        thread.join()
    assert seen <= {"running", "succeeded"}


def test_work_that_holds_the_database_is_not_held_up_by_its_own_progress(
    activities: Activities, root: Path
) -> None:
    database = Database(root / "workspace.db")
    with activities.start(kind="purge", subject="workspace") as activity:
        began_s = time.monotonic()
        with database.write():
            activity.phase("Sweeping", total=10)
            activity.log("still here")
            activity.advance(10)
        assert time.monotonic() - began_s < 1
        activity.phase("Indexing")
        assert activities.get(activity.id).phase == "Indexing"


def test_cancel_is_seen_while_the_database_is_held(activities: Activities, root: Path) -> None:
    database = Database(root / "workspace.db")
    with activities.start(kind="purge", subject="workspace") as activity:
        activities.cancel(activity.id)
        with database.write(), pytest.raises(CancelledError):
            activity.phase("Sweeping")


def test_an_end_that_the_database_cannot_take_is_not_lost(
    activities: Activities, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.database.BUSY_TIMEOUT_S", 0.05)
    holder = activities.start(kind="push", subject="i")
    activity = holder.__enter__()
    with Database(root / "workspace.db").write():
        holder.__exit__(None, None, None)
    assert _row(root, activity.id)[0] == "running"
    assert activities.get(activity.id).state == "succeeded"
    with activities.start(kind="image", subject="the next writer"):
        assert _row(root, activity.id) == ("succeeded", None)


def fill(disk: Path) -> None:
    """Leaves no byte."""
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs")
def test_a_disk_that_fills_up_loses_no_end(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "inferry-test", disk], check=True)
    try:
        root = Workspace.init(disk / "ws", base="none").root
        activities = activities_of(root)
        with activities.start(kind="image", subject="i") as activity:
            activity.log("before")
            fill(disk)
            for number in range(2000):
                activity.log(f"line {number}")
            activity.phase("Packing")
            activity.advance(1)
            assert activities.get(activity.id).is_running
        with pytest.raises(StoreFullError), activities.start(kind="image", subject="refused"):
            pass
        (disk / "ballast").unlink()
        (seen,) = activities.list()
        assert (seen.id, seen.state) == (activity.id, "succeeded")
        with activities.start(kind="image", subject="settles"):
            pass
        assert [a.state for a in activities.list()] == ["succeeded"] * 2
    finally:
        subprocess.run(["umount", disk], check=True)


def test_progress_costs_next_to_nothing(activities: Activities) -> None:
    with activities.start(kind="image", subject="i") as activity:
        activity.phase("Packing", total=100_000)
        began_s = time.monotonic()
        for _ in range(100_000):
            activity.advance(1)
        assert time.monotonic() - began_s < 1.5
        assert activity.progress() == ("Packing", 100_000, 100_000)
