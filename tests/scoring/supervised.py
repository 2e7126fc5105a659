"""A line server (tests/scoring/line_server.py) in a process of its own, and clients for it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 45.0


class Line:
    """One client connection. Every call ends within TIMEOUT_S."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def send(self, text: str) -> None:
        self._socket.sendall(text.encode())

    def read(self) -> str:
        """One answer. Raises ConnectionError at the end or in the middle of one."""
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("cut off")
        return line[:-1].decode()

    def ask(self, text: str) -> str:
        self.send(text + "\n")
        return self.read()

    def pid(self) -> int:
        return int(self.ask("who").split()[0])

    def generation(self) -> int:
        return int(self.ask("who").split()[1])

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Supervised:
    """The running program."""

    def __init__(
        self, processes: int, drain_s: float, folder: Path | None, descriptors: int | None = None
    ) -> None:
        arguments = [str(processes), str(drain_s), *([str(folder)] if folder else [])]
        limit = ["prlimit", f"--nofile={descriptors}"] if descriptors else []
        self.process = subprocess.Popen(
            [*limit, sys.executable, "-m", "tests.scoring.line_server", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._told: list[str] = []
        self._reader = threading.Thread(target=self._read_errors)
        self._reader.start()
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().split()[1])

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def errors(self) -> str:
        """What it wrote to standard error so far."""
        return "".join(self._told)

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def line(self) -> Line:
        return Line(self.port)

    @contextlib.contextmanager
    def lines(self, count: int) -> Iterator[list[Line]]:
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(self.line()) for _ in range(count)]

    def children(self) -> set[int]:
        """Process ids."""
        text = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return set(map(int, text.split()))

    def wait_read(self) -> None:
        """Until the processes have read all that was sent to them."""
        until(lambda: not self._has_unread())

    def _has_unread(self) -> bool:
        entries = Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]
        ours = [
            entry.split() for entry in entries if entry.split()[1].endswith(f":{self.port:04X}")
        ]
        return any(not fields[4].endswith(":00000000") for fields in ours)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait_for(self, text: str) -> None:
        """Until standard error has it."""
        until(lambda: text in self.errors)

    def wait(self) -> int:
        """Its exit code, once it and all who hold its standard error have ended."""
        code = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        return code

    def close(self) -> None:
        children = self.children() if self.process.poll() is None else set()
        self.process.kill()
        self.process.wait()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._reader.join(TIMEOUT_S)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._told.append(line)


@contextlib.contextmanager
def supervised(
    processes: int = 2,
    drain_s: float = 5.0,
    folder: Path | None = None,
    descriptors: int | None = None,
) -> Iterator[Supervised]:
    """A ready one."""
    server = Supervised(processes, drain_s, folder, descriptors)
    try:
        server.wait_ready()
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def starting(
    processes: int = 2, drain_s: float = 5.0, folder: Path | None = None
) -> Iterator[Supervised]:
    """One that may not be ready yet."""
    server = Supervised(processes, drain_s, folder)
    try:
        yield server
    finally:
        server.close()


def until(holds: Callable[[], bool]) -> None:
    """Look again until it holds. Raises AssertionError after TIMEOUT_S."""
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def spread(lines: list[Line]) -> list[int]:
    """How many of these connections each process has, fewest first."""
    return sorted(Counter(line.pid() for line in lines).values())


def is_alive(pid: int) -> bool:
    """False for a zombie too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
