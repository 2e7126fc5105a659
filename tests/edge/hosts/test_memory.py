"""What the in-memory host does beyond the conformance suite: it follows its script."""

from __future__ import annotations

import http.client
import itertools
import json
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from edge.errors import HostError
from edge.hosts.memory import Behaviour, MemoryHost
from edge.hosts.port import Instance, InstanceId, ModuleHost, Observed, Slot
from tests.edge.hosts.conformance import Conformance

LIVE = InstanceId("digits", "live")
DIGEST = "sha256:" + "a" * 64


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def host(clock: Clock) -> Iterator[MemoryHost]:
    host = MemoryHost(clock=clock)
    yield host
    host.close()


def started(host: MemoryHost, behaviour: Behaviour | None = None) -> Observed:
    """One that has begun, with that script."""
    if behaviour is not None:
        host.behaviours[DIGEST] = behaviour
    host.prepare(DIGEST, lambda: False)
    host.start(Instance(LIVE, DIGEST))
    return only(host)


def only(host: MemoryHost) -> Observed:
    """The only instance."""
    (found,) = host.list()
    return found


def ask(port: int | None, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body."""
    assert port is not None
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=45)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_one_that_crashes_has_ended_at_once(host: MemoryHost) -> None:
    seen = started(host, Behaviour(exit_code=3))
    assert (seen.state, seen.exit_code, seen.port) == ("exited", 3, None)


def test_one_that_exits_later_answers_until_then(host: MemoryHost, clock: Clock) -> None:
    seen = started(host, Behaviour(exit_code=137, exit_after_s=5, is_out_of_memory=True))
    assert ask(seen.port, "POST", "/score", b"1") == (200, b"1")
    clock.now = 5.0
    assert (only(host).state, only(host).is_out_of_memory) == ("exited", True)
    with pytest.raises(ConnectionRefusedError):
        ask(seen.port, "GET", "/")


def test_one_is_ready_when_its_script_says_so(host: MemoryHost, clock: Clock) -> None:
    seen = started(host, Behaviour(ready_after_s=2))
    assert ask(seen.port, "GET", "/readyz")[0] == 503
    assert ask(seen.port, "GET", "/healthz")[0] == 200
    clock.now = 2.0
    assert ask(seen.port, "GET", "/readyz")[0] == 200
    host.stop(LIVE)
    assert ask(started(host, Behaviour(ready_after_s=inf)).port, "GET", "/readyz")[0] == 503


def test_a_hung_one_takes_a_connection_and_does_not_answer(host: MemoryHost) -> None:
    seen = started(host, Behaviour(is_hung=True))
    assert seen.port is not None
    connection = http.client.HTTPConnection("127.0.0.1", seen.port, timeout=0.1)
    connection.request("GET", "/readyz")
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()


def test_a_reload_changes_the_answers_to_those_of_the_bundle(
    host: MemoryHost, tmp_path: Path
) -> None:
    host.behaviours |= {"one": Behaviour(score=lambda _: (200, b"1")), "two": Behaviour()}
    host.behaviours["two"] = Behaviour(score=lambda _: (200, b"2"))
    current = tmp_path / "current"
    current.symlink_to("one")
    host.prepare(DIGEST, lambda: False)
    host.start(Instance(LIVE, DIGEST, bundle=tmp_path))
    assert ask(only(host).port, "POST", "/score") == (200, b"1")
    current.unlink()
    current.symlink_to("two")
    assert ask(only(host).port, "POST", "/score") == (200, b"1")
    host.reload(LIVE)
    assert ask(only(host).port, "POST", "/score") == (200, b"2")


def test_a_failing_host_says_so_and_its_modules_go_on(host: MemoryHost) -> None:
    seen = started(host)
    host.fail("dockerd is down")
    for call in (host.list, lambda: host.stop(LIVE), lambda: host.logs(LIVE, 1)):
        with pytest.raises(HostError, match="dockerd is down"):
            call()
    assert ask(seen.port, "GET", "/readyz")[0] == 200
    host.fail(None)
    assert only(host) == seen


class MemoryPlace:
    """One host, which goes on when an agent does not."""

    def __init__(self, bundles: Path) -> None:
        self.memory = MemoryHost()
        self.host: ModuleHost = self.memory
        self._bundles = bundles
        self._count = itertools.count(1)

    @property
    def bundles(self) -> Path:
        return self._bundles

    def image(self, answer: str = "", *, exit_code: int | None = None) -> str:
        digest = f"sha256:{next(self._count):064x}"
        self.memory.behaviours[digest] = answering(answer, exit_code)
        return digest

    def bundle(self, answer: str) -> str:
        self.memory.behaviours[answer] = answering(answer)
        return answer

    def reopened(self) -> ModuleHost:
        return self.host

    def id(self, module: str = "digits", slot: Slot = "live") -> InstanceId:
        return InstanceId(module, slot)


def answering(text: str, exit_code: int | None = None) -> Behaviour:
    """One that answers so, in JSON."""
    return Behaviour(exit_code=exit_code, score=lambda _: (200, json.dumps(text).encode()))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[MemoryPlace]:
    place = MemoryPlace(tmp_path)
    yield place
    place.memory.close()


class TestMemory(Conformance):
    """The suite, but for what needs programs."""
