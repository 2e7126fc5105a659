"""A workspace whose disk is full or read-only: the script goes on, and the status tells the truth.

A tmpfs of 8 MB is the workspace's disk.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from registry import Workspace
from registry.errors import StoreFullError, WorkspaceDamagedError
from registry.tracking import Tracking
from runtime.tracking import Run

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs"),
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB, which a workspace is on."""
    made = tmp_path / "disk"
    made.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "inferry-test", made], check=True)
    try:
        Workspace.init(made / "ws", base="none")
        yield made
    finally:
        subprocess.run(["umount", made], check=True)


FULL = re.compile("no space is left|disk refuses to write; is it full")
"""The file system of a database says it in one way or the other."""


def fill(disk: Path) -> None:
    """Leaves no byte."""
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def test_a_read_only_workspace_is_a_reason_to_print(
    disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remount(disk, "ro")
    with Run("digits", workspace=disk / "ws") as run:
        run.log("loss", 0.5)
    said = capsys.readouterr()
    assert "[digits] loss = 0.5" in said.out
    assert "this run is printed, not kept: the workspace cannot be written" in said.err
    with pytest.raises(WorkspaceDamagedError):
        Run("digits", workspace=disk / "ws", allow_offline=False)
    remount(disk, "rw")
    assert Tracking.open(disk / "ws").runs.search().runs == ()


def test_a_full_disk_is_a_reason_to_print(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(disk)
    with Run("digits", workspace=disk / "ws") as run:
        run.log("loss", 0.5)
    said = capsys.readouterr()
    assert "[digits] loss = 0.5" in said.out
    assert FULL.search(said.err)
    with pytest.raises(StoreFullError):
        Run("digits", workspace=disk / "ws", allow_offline=False)


def test_a_disk_that_fills_up_loses_nothing_acknowledged_and_keeps_how_it_ended(
    disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run("digits", workspace=disk / "ws", outputs=None)
    run.log("loss", 1.0)
    assert run.flush()
    fill(disk)
    for number in range(200_000):
        run.log("loss", number)
    run.upload_file("x", __file__)
    run.tag("a", "b")
    assert not run.flush()
    assert not run.end()
    said = capsys.readouterr().err
    assert "what is logged cannot be written now: " in said
    assert FULL.search(said)
    assert f"logged values of run {run.id} are lost" in said
    (disk / "ballast").unlink()
    tracking = Tracking.open(disk / "ws")
    found = tracking.runs.get("digits:1")
    assert (found.status, found.cause) == ("finished", None)
    assert tracking.metrics.history(run.id, "loss")[0].value == 1.0


def test_what_could_not_be_written_is_written_when_there_is_room_again(
    disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Run("digits", workspace=disk / "ws", outputs=None) as run:
        fill(disk)
        for number in range(60_000):
            run.log("loss", number)
        assert not run.flush()
        (disk / "ballast").unlink()
        assert run.flush()
    assert "what is logged is written again" in capsys.readouterr().err
    found = Tracking.open(disk / "ws").runs.get("digits:1")
    assert (found.status, found.metrics["loss"].count) == ("finished", 60_000)


def test_a_run_that_may_not_go_offline_raises_when_its_disk_is_full(disk: Path) -> None:
    run = Run("digits", workspace=disk / "ws", outputs=None, allow_offline=False)
    fill(disk)
    for number in range(100_000):
        run.log("loss", number)
    with pytest.raises(StoreFullError):
        run.flush()
    with pytest.raises(StoreFullError):
        run.tag("a", "b" * 8000)
    (disk / "ballast").unlink()
    assert run.end()


def test_a_dead_run_on_a_full_disk_is_seen_as_failed(disk: Path) -> None:
    tracking = Tracking.open(disk / "ws")
    run, life = tracking.runs.begin("digits")
    with tracking.database.held():
        fill(disk)
        life._close()
        for _ in range(3):
            assert tracking.runs.get(run.id).status == "failed"
            assert [each.status for each in tracking.runs.search().runs] == ["failed"]
        (disk / "ballast").unlink()
    assert tracking.runs.get(run.id).status == "failed"
