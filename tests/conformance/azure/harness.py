"""Starts a server per script, sends it every request, keeps what came back.

outcome = run(Script(...), [sys.executable, "-m", "scoring.azmlinfsrv"])
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO

from tests.conformance.azure import normal
from tests.conformance.azure.model import Outcome, Request, Response, Script, Server
from tests.ports import free_port

START_S = 90.0
REQUEST_S = 60.0
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")


class NotStartedError(RuntimeError):
    """The server neither answered nor ended."""


def run(script: Script, server: Server) -> Outcome:
    """What ``script`` does under ``server``."""
    with tempfile.TemporaryFile() as log, _started(script, server.command, log) as (process, port):
        exit_code = _wait(process, port, server.ready, log)
        if exit_code is not None:
            return Outcome(exit_code, {})
        return Outcome(None, {request.name: send(port, request) for request in script.requests})


def send(port: int, request: Request) -> Response:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_S)
    try:
        connection.putrequest(request.method, request.target)
        for name, text in request.headers:
            connection.putheader(name, text.encode("latin-1"))
        if request.body is not None:
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body)
        response = connection.getresponse()
        body = _read(response)
        if body is None:
            return Response(0, (), b"")
        return Response(response.status, normal.headers(request, response.getheaders()), body)
    except (http.client.HTTPException, ConnectionError):
        return Response(0, (), b"")
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse) -> bytes | None:
    try:
        return response.read()
    except http.client.IncompleteRead:
        return None


@contextlib.contextmanager
def _started(
    script: Script, command: Sequence[str], log: IO[bytes]
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    options = ("--entry_script", str(script.path), "--port", str(port), *script.options)
    process = subprocess.Popen(
        [*command, *options],
        cwd=script.path.parent,
        env=_environ(script),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process, port
    finally:
        _end(process)


def _environ(script: Script) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **dict(script.environ)}


def _wait(process: subprocess.Popen[bytes], port: int, ready: str, log: IO[bytes]) -> int | None:
    """The exit code, or None once the script can be asked."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(0.05)
        if _is_open(port) and send(port, Request("ready", "GET", ready)).status == 200:
            return None
    log.seek(0)
    raise NotStartedError(log.read().decode(errors="replace"))


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
