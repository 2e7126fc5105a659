"""Docker: the conformance suite, and what only it has."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.errors import HostError
from edge.hosts.containers import DockerHost
from edge.hosts.port import Instance, InstanceId, ModuleHost, Slot
from edge.messages.desired import Limits
from tests.edge.hosts.conformance import (
    Confinement,
    Conformance,
    ask,
    begin,
    no,
    wait_answering,
)
from tests.edge.hosts.images import FakeStock
from tests.engine import Engine

engine_test = [pytest.mark.slow, pytest.mark.engine, pytest.mark.xdist_group("edge-docker")]


class DockerPlace:
    """A device of its own in the engine."""

    def __init__(self, root: Path, base: Path) -> None:
        self.device = f"test-{uuid.uuid4().hex[:12]}"
        self.stock = FakeStock(root)
        self.base = base
        self._hosts: list[DockerHost] = []
        self.host: ModuleHost = self.reopened()

    @property
    def bundles(self) -> Path:
        return self.stock.folder / "bundles"

    def image(self, answer: str = "", *, exit_code: int | None = None) -> str:
        behaviour = {"answer": answer, "exit_code": exit_code, "is_stubborn": answer == "stubborn"}
        return self.stock.add(behaviour, base=self.base)

    def bundle(self, answer: str) -> str:
        return self.stock.bundle(self.image(answer)).name

    def reopened(self) -> ModuleHost:
        self._hosts.append(DockerHost(self.device, self.stock))
        return self._hosts[-1]

    def id(self, module: str = "digits", slot: Slot = "live") -> InstanceId:
        return InstanceId(module, slot)

    def tidy(self) -> None:
        for seen in self.host.list():
            self.host.stop(seen.id, grace_s=0)
        self.host.discard([])
        for host in self._hosts:
            host.close()


@pytest.fixture
def place(engine_base: str, debian_base: Path, tmp_path: Path) -> Iterator[DockerPlace]:
    place = DockerPlace(tmp_path, debian_base)
    yield place
    place.tidy()


class TestContainers(Conformance, Confinement):
    """The suite."""

    pytestmark = engine_test

    def test_it_can_write_to_tmp_and_nowhere_else(self, place: DockerPlace) -> None:
        begin(place, place.image())
        port = wait_answering(place, place.id()).port
        found = {path: ask(port, f"write?{path}/x") for path in ("/tmp", "/opt/inferry", "/etc")}
        assert found == {"/tmp": "written", "/opt/inferry": "OSError", "/etc": "OSError"}
        status = ask(port, "status")
        assert status["Uid"].split()[0] == "10001"
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0

    def test_its_limits_are_the_engines(self, place: DockerPlace, engine: Engine) -> None:
        limits = Limits(memory_bytes=2**27, cpus=0.5, processes=64)
        begin(place, place.image(), limits=limits)
        wanted = (
            "{{.Memory}} {{.MemorySwap}} {{.NanoCpus}} {{.PidsLimit}}"
            " {{.RestartPolicy.Name}} {{.ReadonlyRootfs}} {{.Privileged}}"
        ).replace("{{.", "{{.HostConfig.")
        found = engine.run(
            "inspect", "--format", wanted, f"inferry-edge-{place.device}-digits-live"
        )
        assert found == f"{2**27} {2**27} 500000000 64 no true false"

    def test_only_layers_that_the_engine_lacks_are_sent(self, place: DockerPlace) -> None:
        place.host.prepare(place.image("one"), no)
        sent = place.stock.sent_bytes
        assert sent < 100_000
        place.host.prepare(place.image("two"), no)
        assert place.stock.sent_bytes - sent < 30_000

    def test_devices_of_one_engine_do_not_see_each_other(
        self, place: DockerPlace, debian_base: Path, tmp_path: Path
    ) -> None:
        other = DockerPlace(tmp_path / "other", debian_base)
        try:
            begin(place, place.image("same"))
            begin(other, other.image("same"))
            other.host.stop(other.id(), grace_s=0)
            other.host.discard([])
            assert ask(wait_answering(place, place.id()).port) == "same"
            place.host.start(Instance(place.id(), place.image("same"), env={"A": "1"}))
            assert ask(wait_answering(place, place.id()).port) == "same"
        finally:
            other.tidy()

    def test_a_socket_of_the_device_can_be_spoken_to(
        self, place: DockerPlace, tmp_path: Path
    ) -> None:
        tmp_path.chmod(0o755)
        begin(place, place.image(), run_folder=tmp_path)
        port = wait_answering(place, place.id()).port
        with socket.socket(socket.AF_UNIX) as listening:  # made after the start, as by a new agent
            listening.bind(str(tmp_path / "agent.sock"))
            (tmp_path / "agent.sock").chmod(0o666)
            listening.listen()
            assert ask(port, "connect?/run/inferry/agent.sock") == "connected"
        assert ask(port, "write?/run/inferry/x") == "OSError"

    def test_a_bundle_alone_is_no_container(self, place: DockerPlace) -> None:
        with pytest.raises(HostError, match="no base"):
            place.host.prepare(place.stock.add({}, kind="bundle"), no)


def test_an_engine_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    host = DockerHost("here", FakeStock(tmp_path))
    for call in (host.list, lambda: host.stop(InstanceId("a", "live")), lambda: host.discard([])):
        with pytest.raises(HostError, match="no Docker Engine answers"):
            call()


def test_an_engine_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(tmp_path / "docker.sock"))
        hung.listen()
        host = DockerHost("here", FakeStock(tmp_path), connect_timeout_s=1)
        started = time.monotonic()
        with pytest.raises(HostError, match="no Docker Engine answers"):
            host.list()
        assert time.monotonic() - started < 20


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.xdist_group("edge-docker")
def test_what_is_listed_is_old_for_a_while_only_and_never_after_an_own_change(
    engine_base: str, debian_base: Path, tmp_path: Path
) -> None:
    place = DockerPlace(tmp_path, debian_base)
    host = DockerHost(place.device, place.stock, list_age_s=60)
    try:
        digest = place.image()
        host.prepare(digest, no)
        assert host.list() == []
        host.start(Instance(place.id(), digest))
        assert len(host.list()) == 1
        place.host.stop(place.id(), grace_s=0)
        assert len(host.list()) == 1
        host.stop(place.id())
        assert host.list() == []
    finally:
        host.close()
        place.tidy()


class Proxy:
    """A socket before the engine's, which can go away, hang, and come back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_hung = False
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.come()

    def come(self) -> None:
        """Listen."""
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen()
        self._begin(self._accept, self._listening)

    def go(self) -> None:
        """End, with all connections."""
        self.path.unlink()
        for each in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)
        for each in (self._listening, *self._open):
            each.close()
        self._open, self._threads = [], []

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect("/var/run/docker.sock")
                self._open += [client, engine]
                self._begin(self._copy, client, engine)
                self._begin(self._copy, engine, client)

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self.is_hung:
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _begin(self, run: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads.append(threading.Thread(target=run, args=arguments, daemon=True))
        self._threads[-1].start()


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_hangs_or_goes_away_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    proxy = Proxy(tmp_path / "docker.sock")
    host = DockerHost("nobody", FakeStock(tmp_path), connect_timeout_s=2, answer_timeout_s=2)
    try:
        assert host.list() == []
        proxy.is_hung = True
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(HostError):
                host.list()
            assert time.monotonic() - started < 20
        proxy.is_hung = False
        assert host.list() == []
        proxy.go()
        with pytest.raises(HostError):
            host.list()
        proxy.come()
        assert host.list() == []
    finally:
        host.close()
        proxy.go()
        gc.collect()  # the SDK leaves a socket to the collector when nobody listens
