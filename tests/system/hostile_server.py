"""The real server process on a small model or script, with what it printed.

with serve_model(folder) as server:
    server.score(b'{"data": [[1, 2, 3, 4]]}')
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import onnx
from onnx import TensorProto, helper

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
START_S = 60.0
GOOD = b'{"data": [[1, 2, 3, 4], [0, -1, 0.5, 100]]}'
GOOD_ANSWER = {"y": [[2.0, 4.0, 6.0, 8.0], [0.0, -2.0, 1.0, 200.0]]}
JSON = {"Content-Type": "application/json"}


def _peak_bytes(pid: int) -> int:
    """VmHWM of one process (proc_pid_status(5))."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


@dataclass(frozen=True)
class Running:
    """A server that answers; ``log`` is what it prints."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def peak_bytes(self) -> int:
        """The most memory that the supervisor and the server processes ever had, added up."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pids = [self.process.pid, *map(int, children.read_text().split())]
        return sum(_peak_bytes(pid) for pid in pids)

    def score(
        self, body: bytes = GOOD, headers: dict[str, str] | None = None, *, timeout_s: float = 30
    ) -> httpx.Response:
        """POST ``body`` to /score on a connection of its own."""
        return httpx.post(
            f"{self.url}/score",
            content=body,
            headers=JSON if headers is None else headers,
            timeout=timeout_s,
            trust_env=False,
        )

    def connect(self, timeout_s: float = 30) -> socket.socket:
        """A raw connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)

    def exchange(self, sent: bytes, *, half_close: bool = False) -> bytes:
        """Send ``sent`` and read until the server closes or is silent for a second."""
        with self.connect(timeout_s=1) as connection:
            connection.sendall(sent)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the end, a reset, or the connection's timeout."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except (TimeoutError, ConnectionResetError):
        pass
    return received


def doubling_model(path: Path) -> Path:
    """``y = 2 x`` for float32 [N,4]."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])
    two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "two"], ["y"])], "g", [x], [y], [two])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@contextmanager
def serve_model(folder: Path, *options: str, model: Path | None = None) -> Iterator[Running]:
    """``python -m scoring`` on ``model`` (default: one that doubles), on a free port."""
    path = model or doubling_model(folder / "doubling.onnx")
    command = [sys.executable, "-m", "scoring", str(path), "--port", "0", *options]
    with _process(command, folder) as (process, log):
        yield Running(process, _port(process, log), log)


@contextmanager
def serve_script(folder: Path, script: str, *options: str) -> Iterator[Running]:
    """``azmlinfsrv`` on ``script``, on a free port."""
    path = folder / "score.py"
    path.write_text(script)
    port = free_port()
    command = [sys.executable, "-m", "scoring.azmlinfsrv", "--entry_script", str(path)]
    with _process([*command, "--port", str(port), *options], folder) as (process, log):
        yield Running(process, _port(process, log), log)


@contextmanager
def _process(
    command: Sequence[str], folder: Path
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = folder / "server.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        yield process, log
        assert process.poll() is None, f"the server ended: {log.read_text()[-2000:]}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"Listening on http://[\d.]+:(\d+)", log.read_text("utf-8", "replace"))
        if found:
            return int(found[1])
        time.sleep(0.02)
    raise AssertionError(f"the server does not start: {log.read_text()[-2000:]}")
