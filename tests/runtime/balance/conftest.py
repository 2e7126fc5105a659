"""A real HAProxy with real replicas behind it; all of it ends with the test.

Where HAProxy is missing the test skips itself; under INFERRY_STRICT=1 (CI) that is a failure.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from runtime.balance import Balance, Balancer, Limits, Replica, Service, Version
from tests.engine import program
from tests.ports import free_port

SCRIPT = Path(__file__).with_name("replica.py")


@dataclass(slots=True)
class Server:
    """A replica: see replica.py."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def replica(self) -> Replica:
        return Replica("127.0.0.1", self.port)

    def started(self) -> set[str]:
        """Ids of the requests that it began."""
        return set(self.log.read_text().split()) if self.log.exists() else set()

    def begun(self) -> int:
        """How many those were."""
        return len(self.log.read_text().split()) if self.log.exists() else 0

    def release(self) -> None:
        """Answers what is held."""
        self.log.with_name(f"{self.log.name}.release").touch()

    def set_ready(self, is_ready: bool) -> None:
        mark = self.log.with_name(f"{self.log.name}.unready")
        mark.unlink(missing_ok=True) if is_ready else mark.touch()

    def kill(self) -> None:
        """Idempotent."""
        self.process.kill()
        self.process.wait()


class Servers(Protocol):
    """``port``: of one that was there before."""

    def __call__(self, port: int | None = None) -> Server: ...


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Starts replicas; each is ready when it returns."""
    with contextlib.ExitStack() as running:

        def start(port: int | None = None) -> Server:
            port = port or free_port()
            log = tmp_path / f"replica-{port}"
            process = subprocess.Popen([sys.executable, SCRIPT, str(port), log])
            server = Server(port, log, process)
            running.callback(server.kill)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    return server
                time.sleep(0.01)
            raise AssertionError("a replica did not start")

        yield start


@pytest.fixture
def folder() -> Iterator[Path]:
    """For HAProxy's files; tmp_path is root's alone, and HAProxy does not run as root. Whatever
    runs there at the end is killed."""
    program("haproxy")
    path = Path(tempfile.mkdtemp(prefix="inferry-balance-"))
    path.chmod(0o711)
    try:
        yield path / "haproxy"
    finally:
        for pid in haproxies(path / "haproxy"):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(path)


def haproxies(folder: Path) -> list[int]:
    """The processes that run in that folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if Path(os.readlink(process / "cwd")) == folder:
                found.append(int(process.name))
    return found


@dataclass(slots=True)
class Front:
    """A balancer with one service ``a`` at ``port``."""

    balancer: Balancer
    port: int
    told: list[str] = field(default_factory=list)

    def apply(self, *versions: Version, **options: Any) -> str:
        """How; see Applied."""
        options.setdefault("limits", Limits(hold_s=10, queue_s=10))
        service = Service("a", self.port, versions=versions, **options)
        return self.balancer.apply(Balance((service,), threads=2)).how

    def ask(
        self, path: str = "/score", headers: dict[str, str] | None = None, timeout_s: float = 45
    ) -> tuple[int, dict[str, Any]]:
        """Status and document of a new connection's one request."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        with contextlib.closing(link):
            link.request("POST", path, b"[1]", headers or {})
            answer = link.getresponse()
            return answer.status, json.loads(answer.read())


@pytest.fixture
def front(folder: Path) -> Iterator[Front]:
    """HAProxy is not started before the first ``apply``."""
    told: list[str] = []
    with Balancer(folder, told=told.append) as balancer:
        yield Front(balancer, free_port(), told)
        balancer.stop(grace_s=0)


def one_version(*servers: Server, name: str = "v1", share: int = 1) -> Version:
    return Version(name, share, tuple(server.replica for server in servers))
