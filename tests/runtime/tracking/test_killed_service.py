"""``kill -9`` of the service under writing clients: what was acknowledged is there, and nothing is
there twice."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry import Workspace
from tests.runtime.tracking.scripts import ROOT

pytestmark = pytest.mark.slow
CLIENTS, KILLS = 3, 2
DEADLINE_S = 120.0

CLIENT = """
import sys
from runtime.tracking import Run, writer

writer.RETRY_S = (0.05,)
with Run("killed", params={"a": 1}) as run:
    print(run.id, flush=True)
    number = 0
    for word in sys.stdin:
        for _ in range(200):
            run.log("x", float(number))
            number += 1
            if number % 20 == 0:
                run.log_list("l", [number])
            if number % 50 == 0 and run.flush():
                print("kept", number, flush=True)
        if word.strip() == "end":
            break
    while not run.flush():
        pass
    print("kept", number, flush=True)
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def service(root: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Killed at the end of the block, without a word."""
    command = [sys.executable, "-m", "runtime.cli.main", "registry", "serve", "-w", str(root)]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _wait_for(port: int) -> None:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        with socket.socket() as found:
            if found.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the service did not start")


def test_what_was_acknowledged_is_there_once_whenever_the_service_dies(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    port = free_port()
    clients: list[subprocess.Popen[str]] = []
    watchdog = threading.Timer(DEADLINE_S, _kill_all, [clients])
    watchdog.start()
    try:
        for round_ in range(KILLS):
            with service(workspace.root, port):
                if not clients:
                    url = f"http://127.0.0.1:{port}"
                    clients = [_client(tmp_path, url) for _ in range(CLIENTS)]
                    ids = [_line(client) for client in clients]
                for number, client in enumerate(clients):  # each dies at another moment of one
                    _say(client, "more")
                    for _ in range(1 + (round_ + number) % 3):
                        assert _line(client).startswith("kept")
            for id in ids:  # whoever looks while there is no service
                assert workspace.tracking.runs.get(id).status == "running"
        with service(workspace.root, port):
            for client in clients:
                _say(client, "end")
            said = [client.communicate(timeout=DEADLINE_S)[0].split() for client in clients]
    finally:
        watchdog.cancel()
        watchdog.join()
        for client in clients:
            with client:
                client.kill()
    for id, words in zip(ids, said, strict=True):
        kept = int(words[-1])
        assert kept == 200 * (KILLS + 1)
        history = workspace.tracking.metrics.history(id, "x")
        assert [point.value for point in history] == [float(number) for number in range(kept)]
        lists = workspace.tracking.metrics.values(id, "l")
        assert [each.document for each in lists] == [f"[{n}]" for n in range(20, kept + 1, 20)]
        run = workspace.tracking.runs.get(id)
        assert (run.status, run.params) == ("finished", {"a": "1"})
    assert len(workspace.tracking.runs.search().runs) == CLIENTS


def _client(folder: Path, url: str) -> subprocess.Popen[str]:
    own = {"PYTHONPATH": str(ROOT), "INFERRY_WORKSPACE": url, "XDG_STATE_HOME": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        cwd=folder,
        env={**os.environ, **own},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _kill_all(clients: list[subprocess.Popen[str]]) -> None:
    """What reads from them goes on then."""
    for client in clients:
        client.kill()


def _line(client: subprocess.Popen[str]) -> str:
    assert client.stdout is not None
    return client.stdout.readline().strip()


def _say(client: subprocess.Popen[str], word: str) -> None:
    assert client.stdin is not None
    client.stdin.write(f"{word}\n")
    client.stdin.flush()
