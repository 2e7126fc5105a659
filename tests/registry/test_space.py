"""A purge is an activity: seen, ended, and others have their turn meanwhile."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from registry import Workspace
from registry.activities import Activities, Activity, RunningActivity
from registry.errors import CancelledError, StoreFullError

FILES = 6


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """With a few models that are deleted, and files that go one at a time."""
    monkeypatch.setattr("registry.purge.SLICE_S", 0.0)
    monkeypatch.setattr("registry.purge.TURN_S", 0.0)
    monkeypatch.setattr("registry.activities.running.WRITE_EVERY_S", 0.0)
    monkeypatch.setattr("registry.activities.running.SHOW_EVERY_S", 0.0)
    found = Workspace.init(tmp_path / "ws", base="none")
    for number in range(FILES):
        (tmp_path / "m.txt").write_text(f"{number}" * 1000)
        found.models.register(tmp_path / "m.txt", name="m")
    found.models.register(tmp_path / "m.txt", name="kept")
    for number in range(FILES):
        found.models.delete(f"m:{number + 1}")
    return found


def test_it_is_seen_and_says_how_much_it_freed(workspace: Workspace) -> None:
    would = workspace.purge(dry_run=True)
    assert workspace.activities.list() == []  # to look takes no time worth one
    shown: list[Activity] = []
    assert workspace.purge(on_change=shown.append) == would
    (ended,) = workspace.activities.list()
    assert (ended.kind, ended.state) == ("purge", "succeeded")
    said = f"freed {would.blobs} files, {would.size_bytes} bytes"
    assert said in workspace.activities.log(ended.id).decode()
    freeing = [each for each in shown if each.phase == "Freeing stored files"]
    assert [each.done for each in freeing] == sorted(each.done for each in freeing)
    assert {each.total for each in freeing} == {would.size_bytes}
    assert freeing[-1].done == would.size_bytes
    workspace.models.download("kept", workspace.root.parent / "kept")


def test_it_is_ended_between_two_files_and_the_next_one_goes_on(workspace: Workspace) -> None:
    would = workspace.purge(dry_run=True)

    def cancel(activity: Activity) -> None:
        if activity.is_running and activity.done:
            workspace.activities.cancel(activity.id)  # which writes: nothing is held meanwhile

    with pytest.raises(CancelledError):
        workspace.purge(on_change=cancel)
    (ended,) = workspace.activities.list()
    assert (ended.state, ended.cause) == ("cancelled", "cancelled on request")
    left = workspace.purge(dry_run=True)
    assert 0 < left.blobs < would.blobs
    assert workspace.purge() == left
    assert workspace.purge(dry_run=True).blobs == 0


def test_what_is_used_between_two_goes_is_kept(workspace: Workspace) -> None:
    """A file that a model has had, and another one has again since the purge began."""
    path = workspace.root.parent / "m.txt"
    path.write_text("0" * 1000)
    made: list[str] = []

    def register(activity: Activity) -> None:
        if activity.done and not made:
            made.append(workspace.models.register(path, name="again").reference)

    workspace.purge(on_change=register)
    assert made == ["again:1"]
    target = workspace.models.download("again", workspace.root.parent / "again")
    assert (target / "m.txt").read_text() == "0" * 1000


def test_a_disk_without_room_for_an_activity_is_freed_all_the_same(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> AbstractContextManager[RunningActivity]:
        raise StoreFullError("no room")

    monkeypatch.setattr(Activities, "start", full)
    assert workspace.purge().blobs > 0
    assert workspace.activities.list() == []
