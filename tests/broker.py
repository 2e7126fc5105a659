"""A real mosquitto for tests, on a free port of loopback; it ends with the test.

    def test_it_is_heard(mosquittos: Mosquittos) -> None:
        broker = mosquittos()                       # plain, everybody may do everything
        broker = mosquittos(authority=authority)    # TLS, certificates and rules of enrolment
        broker.kill(); broker.start()               # the same port again

Where mosquitto is missing the test skips itself; under INFERRY_STRICT=1 (CI) that is a failure.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import pytest

from edge.enrolment import Authority, broker_files, write_files
from edge.enrolment.files import File
from tests.engine import program
from tests.ports import free_port

PLAIN = """\
listener {port} 127.0.0.1
allow_anonymous true
set_tcp_nodelay true
"""


@dataclass(slots=True)
class Mosquitto:
    """``folder``: its configuration, and ``log``, what it says."""

    folder: Path
    port: int
    command: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self) -> None:
        """Returns once it answers."""
        assert self.process is None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.command, "-c", str(self.folder / "mosquitto.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 45
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"mosquitto did not start: {self.log.read_text()}")

    def kill(self) -> None:
        """At once, with nothing saved. Idempotent."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """In good order: with persistence, what it holds is saved. Idempotent."""
        self._end(signal.SIGTERM)

    def reload(self) -> None:
        """Have it read its rules and revocations again; returns once it has."""
        assert self.process is not None
        before = self.log.read_text().count("Reloading config")
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 45
        while self.log.read_text().count("Reloading config") == before:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def _end(self, number: int) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(number)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Mosquittos(Protocol):
    """``authority``: TLS, with clients known by their certificates. ``settings``: more lines of
    mosquitto.conf."""

    def __call__(self, *settings: str, authority: Authority | None = None) -> Mosquitto: ...


@pytest.fixture
def mosquittos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquittos]:
    """Starts brokers; all end with the test."""
    command = program("mosquitto")
    with contextlib.ExitStack() as running:

        def start(*settings: str, authority: Authority | None = None) -> Mosquitto:
            folder = tmp_path_factory.mktemp("mosquitto")
            port = free_port()
            if authority is None:
                text = PLAIN.format(port=port)
            else:
                write_files(folder, _files(authority, folder, port))
                text = (folder / "mosquitto.conf").read_text() + "log_type information\n"
            if os.geteuid() == 0:
                text += "user root\n"  # or it could not read in this test's folder
            (folder / "mosquitto.conf").write_text(text + "\n".join(settings) + "\n")
            broker = Mosquitto(folder, port, command)
            running.callback(broker.kill)
            broker.start()
            return broker

        yield start


def _files(authority: Authority, folder: Path, port: int) -> dict[str, File]:
    return broker_files(
        authority,
        ["127.0.0.1", "localhost"],
        folder=PurePosixPath(folder),
        port=port,
        address="127.0.0.1",
        data=PurePosixPath(folder),
    )
