"""A contestant's process from exec to SIGKILL.

with running(contestant, request, is_right, scratch) as server:
    server.port, server.pid, server.ready_s
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cpu
from benchmarks.contestants import Contestant
from benchmarks.wire import Request

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 3.0
POLL_S = 0.003


class NotServedError(Exception):
    """The server did not come up, or does not answer this request rightly; ``str()`` says how."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running one. ``ready_s``: from exec to its first right answer."""

    process: subprocess.Popen[bytes]
    port: int
    ready_s: float
    log: Path

    @property
    def pid(self) -> int:
        """Its first process."""
        return self.process.pid


@contextlib.contextmanager
def running(
    contestant: Contestant, request: Request, is_right: Callable[[bytes], bool], scratch: Path
) -> Iterator[Server]:
    """Serves while the block runs. Raises NotServedError when no right answer comes."""
    port, log = free_port(), scratch / "server.log"
    began_s = time.monotonic()
    process = _start(contestant, port, log, scratch)
    try:
        while not _answers_rightly(port, request, is_right):
            waited_s = time.monotonic() - began_s
            if process.poll() is not None or waited_s > READY_TIMEOUT_S:
                said = log.read_text(errors="replace")[-2000:]
                raise NotServedError(f"{contestant.name} did not start; it said:\n{said}")
            time.sleep(POLL_S)
        yield Server(process, port, time.monotonic() - began_s, log)
    finally:
        stop(process)


def _start(contestant: Contestant, port: int, log: Path, cwd: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as sink:
        return subprocess.Popen(
            contestant.command(port),
            cwd=cwd,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1", **contestant.environment},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM; then SIGKILL for whatever of its tree is left: some peers leave orphans."""
    members = {pid: cpu.command_line(pid) for pid in cpu.tree(process.pid)[1:]}
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.poll() is None:
        process.kill()
        process.wait()
    for pid, command in members.items():
        if command and cpu.command_line(pid) == command:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def check(port: int, request: Request, is_right: Callable[[bytes], bool]) -> None:
    """Raises NotServedError unless this one request is answered rightly."""
    status, body = _exchange(port, request)
    if status != 200 or not is_right(body):
        raise NotServedError(f"{status} {body[:200].decode(errors='replace')}")


def _answers_rightly(port: int, request: Request, is_right: Callable[[bytes], bool]) -> bool:
    with contextlib.suppress(OSError):
        status, body = _exchange(port, request)
        if status == 200 and not is_right(body):
            raise NotServedError(f"a wrong answer: {body[:200]!r}")
        return status == 200
    return False


def _exchange(port: int, request: Request) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        method = "POST" if request.body else "GET"
        connection.request(method, request.path, request.body or None, request.headers)
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def free_port() -> int:
    """One that nothing listens on, and the next neither (MLServer wants two)."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port + 1)):
                return port
