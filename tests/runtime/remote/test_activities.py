"""Activities by URL, and their events."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn

import httpx
import pytest

from registry.activities import Activity, RunningActivity
from registry.activities.origin import CommandOrigin, begun_by
from registry.database import Database
from registry.errors import (
    CancelledError,
    EngineError,
    ImageFailedError,
    ImmutableError,
    InvalidSourceError,
    NotFoundError,
)
from registry.image_building import ImageBuilder
from registry.paths import WorkspacePaths
from runtime.cli.main import run
from runtime.remote import RemoteWorkspace
from runtime.workspace_service.events import Events
from runtime.workspace_service.faults import Fault
from tests.registry.onnx_files import adder
from tests.runtime.remote.served import DEADLINE_S, Served

ACCEPT = {"Accept": "text/event-stream"}


@pytest.fixture
def remote(served: Served) -> Iterator[RemoteWorkspace]:
    with served.remote() as found:
        yield found


def _events(served: Served) -> str:
    return f"{served.url}/api/v1/workspaces/default/events"


class Told:
    """Reads a stream of events; a test ends when nothing comes in time."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()
        self.last_id = ""

    def next(self) -> dict[str, object]:
        """The next activity."""
        for line in self._lines:
            if line.startswith("id: "):
                self.last_id = line[4:]
            if line.startswith("data: "):
                found: dict[str, object] = json.loads(line[6:])
                return found
        raise AssertionError("the stream has ended")

    def until(self, id: str, state: str) -> list[dict[str, object]]:
        """All events up to the one with which this activity is so."""
        found = [self.next()]
        while (found[-1]["id"], found[-1]["state"]) != (id, state):
            found.append(self.next())
        return found


def test_an_activity_is_seen_followed_and_cancelled(
    served: Served, remote: RemoteWorkspace
) -> None:
    local = served.local().activities
    changes: list[Activity] = []
    with ExitStack() as stack:
        stack.enter_context(suppress(CancelledError))
        running = stack.enter_context(local.start("test", "it"))
        running.phase("working", 100)
        running.log("a first line")
        found = remote.activities.get(running.id[:-1])
        assert found == local.get(running.id)
        assert remote.activities.list(kind="test", running_only=True) == [found]
        said = remote.activities.log(running.id)
        assert said.endswith(b"a first line\n")
        running.log("a second line")
        assert remote.activities.log(running.id, len(said)).endswith(b"a second line\n")

        remote.activities.cancel(running.id)
        _until_cancelled(running)
    ended = remote.activities.followed(remote.activities.get(running.id), changes.append)
    assert (ended.state, changes) == ("cancelled", [ended])
    with pytest.raises(ImmutableError):
        remote.activities.cancel(running.id)
    with pytest.raises(NotFoundError):
        remote.activities.get("nobody")


def _until_cancelled(running: RunningActivity) -> None:
    stop = threading.Event()
    for _ in range(1000):
        running.advance(1)
        stop.wait(DEADLINE_S / 1000)


def test_events_tell_of_changes_and_resume_where_a_client_was(served: Served) -> None:
    local = served.local().activities
    with httpx.Client(timeout=DEADLINE_S) as client:
        with client.stream("GET", _events(served), headers=ACCEPT) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            told = Told(response)
            with local.start("test", "first") as first:
                told.until(first.id, "running")
            told.until(first.id, "succeeded")
        with local.start("test", "second") as second:
            pass
        resumed = {**ACCEPT, "Last-Event-ID": told.last_id}
        with client.stream("GET", _events(served), headers=resumed) as response:
            again = Told(response)
            found = again.until(second.id, "succeeded")
            assert {each["id"] for each in found} == {second.id}  # nothing that it had
        for last_id in ("", "-7", "nonsense", "99999999", "9" * 40):
            headers = {**ACCEPT, "Last-Event-ID": last_id}
            with client.stream("GET", _events(served), headers=headers) as response:
                found = Told(response).until(second.id, "succeeded")
                assert first.id in {each["id"] for each in found}  # all, as it is now


def test_events_of_one_activity_are_those_alone(served: Served) -> None:
    local = served.local().activities
    with local.start("test", "one") as one, local.start("test", "other"):
        pass
    with (
        httpx.Client(timeout=DEADLINE_S) as client,
        client.stream("GET", _events(served), headers=ACCEPT, params={"id": one.id}) as response,
    ):
        told = Told(response)
        assert told.next()["id"] == one.id


def test_a_client_that_wants_no_events_gets_none(served: Served) -> None:
    assert httpx.get(_events(served)).status_code == 406
    assert httpx.head(_events(served), headers=ACCEPT).status_code == 200


def test_streams_are_bounded_and_end_with_the_service(served: Served) -> None:
    closing = threading.Event()
    events = Events({"default": served.local()}, closing, every_s=0.01, most=2)

    async def follow() -> list[object]:
        loop = asyncio.get_running_loop()
        with (
            events.following("default", "", loop) as (one, _),
            events.following("default", "", loop) as (two, _),
        ):
            with pytest.raises(Fault) as refused, events.following("default", "", loop):
                pass
            assert refused.value.status == 503
            closing.set()
            return [await one.get(), await two.get()]

    assert asyncio.run(asyncio.wait_for(follow(), DEADLINE_S)) == [None, None]


def _failed_once(remote: RemoteWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The activity of an image that could not be made the first time."""
    remote.models.register(adder(tmp_path / "m.onnx"), name="adder")
    with monkeypatch.context() as patch:

        def fails(self: ImageBuilder, *given: object) -> NoReturn:
            raise EngineError("no engine")

        patch.setattr(ImageBuilder, "build", fails)
        with pytest.raises(ImageFailedError):
            remote.images.create(
                "web",
                models=["adder"],
                script=_script(tmp_path),
                tags={"team": "a"},
                proof=False,
            )
    return remote.activities.list(limit=1)[0].id


def _script(folder: Path) -> Path:
    (folder / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    return folder / "score.py"


def test_an_image_is_resumed_with_the_files_that_were_uploaded(
    remote: RemoteWorkspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = _failed_once(remote, tmp_path, monkeypatch)
    assert remote.activities.get(id).begun_by == "service"
    (tmp_path / "score.py").unlink()  # the service has it
    ended = remote.activities.followed(remote.activities.resume(id[:-1]), None)
    assert (ended.state, ended.resumes, ended.begun_by) == ("succeeded", id, "service")
    made = remote.images.get("web")
    assert (made.version, made.state, made.tags["team"]) == (2, "succeeded", "a")
    with pytest.raises(ImmutableError, match="which has succeeded"):
        remote.activities.resume(id)


def test_by_url_the_command_line_resumes_too(
    remote: RemoteWorkspace,
    served: Served,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    id = _failed_once(remote, tmp_path, monkeypatch)
    assert run(["activity", "resume", id, "-w", served.url, "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["resumes"] == id
    assert run(["activity", "resume", id, "-w", served.url]) == 1
    assert "which has succeeded" in capsys.readouterr().err


def test_uploads_that_were_forgotten_are_said(
    remote: RemoteWorkspace, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = _failed_once(remote, tmp_path, monkeypatch)
    with Database(WorkspacePaths(served.local().root).database).write() as connection:
        connection.execute("DELETE FROM held_blobs")
    with pytest.raises(InvalidSourceError, match=r"'score.py' was not uploaded.*give the command"):
        remote.activities.resume(id)
    assert not remote.activities.list(running_only=True)


def test_what_a_command_line_began_is_not_resumed_by_url(
    remote: RemoteWorkspace, served: Served
) -> None:
    origin = CommandOrigin(("backup", "/secret/folder"), "/secret")
    with (
        pytest.raises(EngineError),
        begun_by(origin),
        served.local().activities.start("backup", "b") as activity,
    ):
        raise EngineError("no engine")
    with pytest.raises(ImmutableError, match="a command line on the machine") as refused:
        remote.activities.resume(activity.id)
    assert "secret" not in str(refused.value)
