"""Files on their way are activities: seen by others, ended by others, begun again."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from registry import Workspace
from registry.activities import Activities
from registry.activities.running import RunningActivity
from registry.errors import CancelledError, StoreFullError
from runtime.cli.progress import Lines
from runtime.cli.transfer_activity import transfer
from tests.registry.onnx_files import adder
from tests.runtime.conftest import Cli


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.init(tmp_path / "ws", base="none")


def test_a_transfer_is_seen_as_it_goes_and_ended_from_elsewhere(workspace: Workspace) -> None:
    activities = workspace.activities

    def send() -> None:
        with transfer(workspace, "upload", "train to lake", "Uploading", "json") as on_progress:
            assert on_progress is not None
            on_progress(1024, 4096)
            (seen,) = activities.list()
            assert (seen.kind, seen.subject, seen.state) == ("upload", "train to lake", "running")
            assert (seen.phase, seen.total) == ("Uploading", 4096)
            activities.cancel(seen.id)
            for done in range(2048, 10**9):
                on_progress(done, 10**9)

    with pytest.raises(CancelledError):
        send()
    (ended,) = activities.list()
    assert (ended.state, ended.cause) == ("cancelled", "cancelled on request")


def test_bytes_are_counted_once_also_when_a_file_begins_again(workspace: Workspace) -> None:
    with transfer(workspace, "upload", "x", "Uploading", "json") as on_progress:
        assert on_progress is not None
        for done in (0, 60, 20, 100):
            on_progress(done, 100)
    (ended,) = workspace.activities.list()
    assert (ended.state, ended.done, ended.total) == ("succeeded", 100, 100)


def test_a_workspace_without_room_for_an_activity_sends_all_the_same(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> AbstractContextManager[RunningActivity]:
        raise StoreFullError("no room")

    monkeypatch.setattr(Activities, "start", full)
    with transfer(workspace, "upload", "x", "Uploading", "table") as on_progress:
        assert isinstance(on_progress, Lines)
        on_progress(1, 2)


def test_what_fails_within_is_raised_and_fails_the_activity(workspace: Workspace) -> None:
    with (
        pytest.raises(StoreFullError, match="there"),
        transfer(workspace, "download", "x", "Downloading", "json"),
    ):
        raise StoreFullError("the disk is full there")
    (ended,) = workspace.activities.list()
    assert (ended.state, ended.cause) == ("failed", "the disk is full there")


def test_commands_that_send_files_are_activities(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("abc")
    assert cli("datastore", "upload", str(tmp_path / "in"), "here").code == 0
    assert cli("datastore", "download", "here", str(tmp_path / "out")).code == 0
    assert cli("datastore", "upload", str(tmp_path / "in/a.txt"), "here").code == 0
    listed = json.loads(cli("activity", "list", "-o", "json").stdout)
    said = [(each["kind"], each["subject"], each["state"], each["total"]) for each in listed]
    assert said == [
        ("upload", "a.txt to workspace", "succeeded", 0),  # nothing new
        ("download", "here from workspace", "succeeded", 3),
        ("upload", "in to workspace", "succeeded", 3),
    ]


def test_a_push_that_failed_is_resumed_and_its_record_has_no_password(
    cli: Cli, tmp_path: Path
) -> None:
    cli("model", "register", str(adder(tmp_path / "net.onnx")), "--name", "net")
    assert cli("image", "create", "net", "--model", "net").code == 0
    assert cli("image", "push", "net", "localhost:1/net").code == 1
    (failed, *_) = json.loads(cli("activity", "list", "--kind", "push", "-o", "json").stdout)
    assert (failed["subject"], failed["state"]) == ("net to localhost:1/net", "failed")
    assert cli("activity", "resume", failed["id"]).code == 1
    again, _ = json.loads(cli("activity", "list", "--kind", "push", "-o", "json").stdout)
    assert again["resumes"] == failed["id"]
    assert cli("image", "push", "net", "ann:sesame@localhost:1/net").code == 1
    assert "sesame" not in cli("activity", "list", "-o", "json").stdout
    assert cli("image", "export", "net", str(tmp_path / "net.tar")).code == 0
    (exported,) = json.loads(cli("activity", "list", "--kind", "export", "-o", "json").stdout)
    assert (exported["subject"], exported["state"]) == ("net to net.tar", "succeeded")


def test_a_model_of_many_bytes_is_registered_as_an_activity(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "table.csv").write_text("1,2\n" * 1000)
    register = ("model", "register", str(tmp_path / "table.csv"), "--name", "table")
    assert cli(*register).code == 0
    assert json.loads(cli("activity", "list", "-o", "json").stdout) == []
    monkeypatch.setattr("runtime.cli.model.LARGE_BYTES", 1000)
    assert cli(*register).code == 0
    (made,) = json.loads(cli("activity", "list", "-o", "json").stdout)
    assert (made["kind"], made["subject"], made["state"], made["done"], made["total"]) == (
        "model",
        "table from table.csv",
        "succeeded",
        4000,
        4000,
    )
    assert cli(*register, "--tag", "no pair").code != 0
    assert cli("model", "register", str(tmp_path / "none"), "--name", "table").code == 1


def test_a_purge_that_failed_is_begun_again_by_its_id(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreFullError("the disk is broken")

    with monkeypatch.context() as broken:
        broken.setattr("registry.space.purge", fail)
        assert cli("purge").code == 1
    (failed,) = json.loads(cli("activity", "list", "--kind", "purge", "-o", "json").stdout)
    assert (failed["state"], failed["cause"]) == ("failed", "the disk is broken")
    done = cli("activity", "resume", failed["id"])
    assert (done.code, done.stdout.startswith("Freed ")) == (0, True), done.stderr
