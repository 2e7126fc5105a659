"""What every host must do. A test class of a host derives from Conformance and gives ``place``."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from edge.errors import HostError
from edge.hosts.port import Instance, InstanceId, ModuleHost, Observed, Slot
from edge.messages.desired import Limits
from tests.ports import free_port

WAIT_S = 60.0
T = TypeVar("T")


class Place(Protocol):
    """A host under test."""

    host: ModuleHost

    def image(self, answer: str = "", *, exit_code: int | None = None) -> str:
        """The digest of a new image, which the device has: it answers so, or ends at once."""
        ...

    def bundle(self, answer: str) -> str:
        """The name of a new bundle in ``bundles``."""
        ...

    @property
    def bundles(self) -> Path:
        """A folder for the link ``current``."""
        ...

    def reopened(self) -> ModuleHost:
        """The host as an agent has it that was started again."""
        ...

    def id(self, module: str = "digits", slot: Slot = "live") -> InstanceId:
        """That no other test has."""
        ...


def no() -> bool:
    """Is it cancelled?"""
    return False


class Conformance:
    """The suite."""

    def test_it_starts_answers_and_stops(self, place: Place) -> None:
        id = begin(place, place.image("one"))
        seen = wait_answering(place, id)
        assert (seen.state, seen.exit_code, seen.is_out_of_memory) == ("running", None, False)
        assert seen.started_at_s == pytest.approx(time.time(), abs=120)
        assert ask(seen.port) == "one"
        place.host.stop(id, grace_s=5)
        assert find(place.host, id) is None
        with pytest.raises(OSError, match=r"refused|reset"):
            ask(seen.port)

    def test_everything_may_be_said_twice(self, place: Place) -> None:
        digest = place.image()
        place.host.prepare(digest, no)
        place.host.stop(place.id())
        begin(place, digest)
        first = wait_answering(place, place.id())
        begin(place, digest)
        assert find(place.host, place.id()) == first
        for _ in range(2):
            place.host.stop(place.id(), grace_s=5)
            place.host.discard([])
        assert place.host.logs(place.id(), 5) == ""

    def test_a_changed_setting_replaces_it_also_on_its_port(self, place: Place) -> None:
        digest = place.image("one")
        place.host.prepare(digest, no)
        instance = Instance(place.id(), digest, port=free_port(), env={"A": "1", "B": "2"})
        place.host.start(instance)
        first = wait_answering(place, place.id())
        place.host.start(replace(instance, env={"B": "2", "A": "1"}))
        assert find(place.host, place.id()) == first
        place.host.start(replace(instance, env={"A": "2", "B": "2"}))
        second = wait_answering(place, place.id())
        assert second.port == first.port == instance.port
        assert second.started_at_s != first.started_at_s

    def test_one_that_has_ended_is_replaced(self, place: Place) -> None:
        begin(place, place.image(exit_code=7))
        seen = wait_ended(place, place.id())
        assert (seen.exit_code, seen.port, seen.is_out_of_memory) == (7, None, False)
        begin(place, place.image("two"))
        assert ask(wait_answering(place, place.id()).port) == "two"

    def test_two_slots_of_a_module_run_beside_each_other(self, place: Place) -> None:
        begin(place, place.image("live"))
        begin(place, place.image("next"), slot="next")
        live = wait_answering(place, place.id())
        next = wait_answering(place, place.id(slot="next"))
        assert [ask(live.port), ask(next.port)] == ["live", "next"]
        place.host.stop(place.id(slot="next"), grace_s=5)
        assert find(place.host, place.id()) == live

    def test_a_restarted_agent_finds_what_runs(self, place: Place) -> None:
        digest = place.image("one")
        begin(place, digest)
        first = wait_answering(place, place.id())
        host = place.reopened()
        assert find(host, place.id()) == first
        host.start(Instance(place.id(), digest))
        assert find(host, place.id()) == first
        host.stop(place.id(), grace_s=5)
        assert find(place.host, place.id()) is None

    def test_what_is_not_prepared_cannot_be_started(self, place: Place) -> None:
        with pytest.raises(HostError):
            place.host.start(Instance(place.id(), "sha256:" + "0" * 64))
        assert find(place.host, place.id()) is None

    def test_preparing_can_be_cancelled(self, place: Place) -> None:
        with pytest.raises(HostError, match="cancelled"):
            place.host.prepare(place.image("never seen"), lambda: True)

    def test_a_port_that_another_has_is_refused(self, place: Place) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            digest = place.image()
            place.host.prepare(digest, no)
            with pytest.raises(HostError):
                place.host.start(Instance(place.id(), digest, port=taken.getsockname()[1]))

    def test_the_last_lines_are_kept_also_of_one_that_has_ended(self, place: Place) -> None:
        begin(place, place.image())
        wait_answering(place, place.id())
        assert "Listening on" in place.host.logs(place.id(), 5)
        begin(place, place.image(exit_code=1))
        wait_ended(place, place.id())
        assert place.host.logs(place.id(), 5) != ""
        assert len(place.host.logs(place.id(), 1).splitlines()) == 1

    def test_a_reload_serves_the_new_bundle_and_fails_no_request(self, place: Place) -> None:
        old, new = place.bundle("old"), place.bundle("new")
        link(place.bundles, old)
        begin(place, place.image("of the image"), bundle=place.bundles)
        seen = wait_answering(place, place.id())
        assert ask(seen.port) == "old"
        with Asking(seen.port) as asking:
            link(place.bundles, new)
            place.host.reload(place.id())
            wait_for(lambda: asking.answers[-1:] == ["new"])
        assert set(asking.answers) == {"old", "new"}
        assert asking.errors == []
        assert find(place.host, place.id()) == seen

    def test_what_does_not_run_cannot_be_reloaded(self, place: Place) -> None:
        with pytest.raises(HostError):
            place.host.reload(place.id())

    def test_discarding_keeps_what_runs_and_what_is_kept(self, place: Place) -> None:
        running, kept, old = place.image("running"), place.image("kept"), place.image("old")
        for digest in (running, kept, old):
            place.host.prepare(digest, no)
        begin(place, running)
        first = wait_answering(place, place.id())
        place.host.discard([kept])
        assert find(place.host, place.id()) == first
        assert ask(first.port) == "running"
        with pytest.raises(HostError):
            place.host.start(Instance(place.id("old"), old))
        place.host.start(Instance(place.id("kept"), kept))
        assert ask(wait_answering(place, place.id("kept")).port) == "kept"
        place.host.start(Instance(place.id(), running, env={"A": "1"}))
        assert ask(wait_answering(place, place.id()).port) == "running"


class Confinement:
    """What a module may do, on hosts whose modules are programs (see fake_server.py)."""

    def test_its_environment_is_what_is_given(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("SECRET_OF_THE_AGENT", "x")
        env = {"MODEL_MODE": "fast", "PATH_EXTRA": "a b\nc=d"}
        begin(place, place.image(), env=env, args=("--workers", "1"), run_folder=tmp_path)
        port = wait_answering(place, place.id()).port
        found = ask(port, "env")
        assert env.items() <= found.items()
        assert "SECRET_OF_THE_AGENT" not in found
        assert found["INFERRY_AGENT_SOCKET"].endswith("/agent.sock")
        assert ask(port, "args")[-2:] == ["--workers", "1"]

    def test_it_gains_no_privileges(self, place: Place) -> None:
        begin(place, place.image())
        found = ask(wait_answering(place, place.id()).port, "status")
        assert found["NoNewPrivs"] == "1"

    def test_an_exit_code_is_known_also_when_the_agent_was_away(self, place: Place) -> None:
        begin(place, place.image())
        seen = wait_answering(place, place.id())
        ask(seen.port, "end?9")
        host = place.reopened()
        assert wait_ended(place, place.id()).exit_code == 9
        ended = find(host, place.id())
        assert ended is not None
        assert (ended.state, ended.exit_code) == ("exited", 9)

    def test_one_that_takes_too_much_memory_is_ended_alone(self, place: Place) -> None:
        limits = Limits(memory_bytes=96 * 2**20)
        begin(place, place.image("small"), module="small", limits=limits)
        begin(place, place.image("large"), limits=limits)
        small = wait_answering(place, place.id("small"))
        port = wait_answering(place, place.id()).port
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(port, f"take?{2**30}", timeout_s=WAIT_S)
        seen = wait_ended(place, place.id())
        assert seen.is_out_of_memory
        assert seen.exit_code not in (None, 0)
        assert ask(small.port) == "small"

    def test_its_processes_are_bounded(self, place: Place) -> None:
        begin(place, place.image(), limits=Limits(processes=20))
        port = wait_answering(place, place.id()).port
        try:
            assert ask(port, "fork?50") < 20
        except (OSError, http.client.HTTPException):
            seen = wait_ended(place, place.id())  # a host without cgroups ends it
            assert seen.exit_code == 137
            assert "20 processes" in place.host.logs(place.id(), 10)

    def test_one_that_does_not_want_to_end_is_killed(self, place: Place) -> None:
        begin(place, place.image("stubborn"))
        seen = wait_answering(place, place.id())
        started = time.monotonic()
        place.host.stop(place.id(), grace_s=0.3)
        assert time.monotonic() - started < 30
        with pytest.raises(OSError, match=r"refused|reset"):
            ask(seen.port)


class Asking:
    """A client that asks all the time, each time anew, while the block runs."""

    def __init__(self, port: int | None) -> None:
        self.answers: list[str] = []
        self.errors: list[Exception] = []
        self._port, self._is_over = port, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Asking:
        self._thread.start()
        wait_for(lambda: bool(self.answers))
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                self.answers.append(ask(self._port))
            except Exception as error:
                self.errors.append(error)
            self._is_over.wait(0.002)


def begin(
    place: Place, digest: str, *, module: str = "digits", slot: Slot = "live", **settings: Any
) -> InstanceId:
    """Prepare and start."""
    id = place.id(module, slot)
    place.host.prepare(digest, no)
    place.host.start(Instance(id, digest, **settings))
    return id


def find(host: ModuleHost, id: InstanceId) -> Observed | None:
    """As the host lists it."""
    found = [each for each in host.list() if each.id == id]
    assert len(found) <= 1
    return found[0] if found else None


def wait_answering(place: Place, id: InstanceId) -> Observed:
    """The instance once it answers."""

    def answers() -> Observed | None:
        seen = find(place.host, id)
        assert seen is not None
        assert seen.state == "running", f"{seen}: {place.host.logs(id, 50)}"
        if seen.port is None:
            return None
        try:
            ask(seen.port, "")
        except (OSError, http.client.HTTPException):
            return None
        return seen

    return wait_for(answers)


def wait_ended(place: Place, id: InstanceId) -> Observed:
    """The instance once it has ended."""

    def ended() -> Observed | None:
        seen = find(place.host, id)
        assert seen is not None
        return seen if seen.state == "exited" else None

    return wait_for(ended)


def wait_for(condition: Callable[[], T | None]) -> T:
    """What it gives, once it gives something."""
    deadline = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.01)
    return found


def ask(port: int | None, path: str | None = None, *, timeout_s: float = 45) -> Any:
    """What the module answers: to a GET of ``path``, else of its bundle."""
    assert port is not None
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        if path is None:
            connection.request("POST", "/score", b"{}")
        else:
            connection.request("GET", f"/{path}")
        data = connection.getresponse().read()
        return json.loads(data) if data.startswith((b'"', b"{", b"[")) or data.isdigit() else data
    finally:
        connection.close()


def link(folder: Path, name: str) -> None:
    """Make ``current`` lead there, in one step."""
    new = folder / ".new"
    new.symlink_to(name)
    os.replace(new, folder / "current")
