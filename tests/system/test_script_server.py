"""A real server with a real score.py in real worker processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.ports import free_port

SCRIPT = """
import json, os, time

def init():
    pass

def run(raw):
    asked = json.loads(raw)
    if "sleep" in asked:
        time.sleep(asked["sleep"])
    if asked.get("exit"):
        os._exit(7)
    if asked.get("segfault"):
        import ctypes
        ctypes.string_at(0)
    if asked.get("hold"):
        sum(range(10 ** 11))  # one C call: the alarm's Python handler cannot run
    return {"pid": os.getpid(), "echo": asked}
"""

COMMAND = [sys.executable, "-m", "scoring.azmlinfsrv", "--entry_script"]
NO_WEIGHTS = "def init():\n    raise RuntimeError('no weights')\ndef run(raw):\n    pass\n"
EXITS = "def init():\n    import os; os._exit(9)\ndef run(raw):\n    pass\n"


class Server:
    """``azmlinfsrv`` on a script; ``log`` has what it printed."""

    def __init__(self, folder: Path, script: str, *options: str, **environ: str) -> None:
        path = folder / "score.py"
        path.write_text(script)
        self.port = free_port()
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, str(path), "--port", str(self.port), *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environ},
                cwd=folder,
            )
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def wait_ready(self) -> Server:
        until(lambda: self.get("/readyz") == 200 or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()
        return self

    def get(self, path: str) -> int | None:
        try:
            return self.client.get(path).status_code
        except httpx.TransportError:
            return None

    def score(self, **asked: object) -> httpx.Response:
        return httpx.post(f"{self.url}/score", json=asked, timeout=30, trust_env=False)

    def in_flight(self) -> float:
        found = re.findall(r"^inferry_in_flight\S* (\S+)$", self.client.get("/metrics").text, re.M)
        return sum(map(float, found))

    def workers(self) -> list[int]:
        return [pid for pid in _below(self.process.pid) if _is_worker(pid)]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        self.client.close()
        return self.process.wait(timeout=60)


def until(is_true: Callable[[], bool], timeout_s: float = 60) -> None:
    """Poll until ``is_true()``; fails the test after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def _below(pid: int) -> list[int]:
    """All processes under this one: server processes and their workers."""
    stats = {int(path.parent.name): _stat(path) for path in Path("/proc").glob("[0-9]*/stat")}
    found = [pid]
    for parent in found:
        found += [child for child, fields in stats.items() if fields[1:2] == [str(parent)]]
    return found[1:]


def _stat(path: Path) -> list[str]:
    """State, parent and so on, of a process that may be gone by now (proc(5))."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _is_worker(pid: int) -> bool:
    try:
        return b"scoring.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _is_alive(pid: int) -> bool:
    return _stat(Path(f"/proc/{pid}/stat"))[:1] not in ([], ["Z"])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path, SCRIPT).wait_ready()
    yield started
    if started.process.poll() is None:
        started.stop()


@pytest.mark.slow
def test_liveness_answers_at_once_while_run_sleeps(server: Server) -> None:
    """Each of them would take until it is over, if it waited."""
    with ThreadPoolExecutor(1) as pool:
        sleeping = pool.submit(server.score, sleep=3)
        time.sleep(0.2)
        for _ in range(10):
            assert server.get("/") == 200
        assert not sleeping.done(), "the probe must run while run() sleeps"
        assert sleeping.result().status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("how", ["exit", "segfault"])
def test_a_worker_that_dies_answers_its_request_and_is_replaced(server: Server, how: str) -> None:
    [before] = server.workers()
    answer = server.score(**{how: True})
    assert answer.status_code == 500
    assert "ended while it had this request" in answer.json()["message"]
    assert answer.headers["x-ms-run-function-failed"] == "True"
    after = server.score(a=1)
    assert after.status_code == 200
    assert after.json()["pid"] != before
    assert server.get("/") == 200


@pytest.mark.slow
def test_an_idle_worker_that_is_killed_is_replaced(server: Server) -> None:
    [before] = server.workers()
    os.kill(before, signal.SIGKILL)
    until(lambda: server.workers() not in ([], [before]))
    assert server.score(a=1).status_code == 200


@pytest.mark.slow
def test_sigterm_finishes_what_is_in_flight_and_leaves_no_process(tmp_path: Path) -> None:
    server = Server(tmp_path, SCRIPT, "--worker_count", "2").wait_ready()
    workers = server.workers()
    assert len(workers) == 2
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(server.score, sleep=1) for _ in range(4)]
        until(lambda: server.in_flight() == 4)  # two run, two wait
        assert server.stop() == 0
        assert [a.result().status_code for a in answers] == [200] * 4
    assert not any(_is_alive(pid) for pid in workers)


@pytest.mark.slow
def test_workers_end_when_the_server_is_killed(tmp_path: Path) -> None:
    server = Server(tmp_path, SCRIPT, "--worker_count", "2").wait_ready()
    workers = server.workers()
    threading.Thread(target=_ignore_cut, args=(server,), daemon=True).start()
    time.sleep(0.2)
    server.process.kill()
    server.process.wait()
    until(lambda: not any(_is_alive(pid) for pid in workers), timeout_s=45)
    server.client.close()


def _ignore_cut(server: Server) -> None:
    try:
        server.score(sleep=20)
    except httpx.TransportError:
        return


@pytest.mark.slow
def test_a_run_that_ignores_its_alarm_is_killed_and_said_so(tmp_path: Path) -> None:
    server = Server(tmp_path, SCRIPT, SCORING_TIMEOUT_MS="300").wait_ready()
    try:
        answer = server.score(hold=True)
        assert answer.status_code == 500
        assert answer.json()["message"] == "Scoring timeout after 300 ms"
        assert server.score(a=1).status_code == 200
    finally:
        server.stop()


@pytest.mark.slow
def test_readiness_waits_for_init_but_liveness_does_not(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    waits = f"    while not os.path.exists({str(gate)!r}): time.sleep(0.02)"
    server = Server(tmp_path, SCRIPT.replace("    pass", waits, 1))
    try:
        until(lambda: server.get("/") == 200)
        assert server.get("/readyz") == 503
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(server.score, a=1)
            until(lambda: server.in_flight() == 1)
            gate.touch()
            assert answer.result().status_code == 200  # it waited for init
        assert server.get("/readyz") == 200
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("import nothing_like_this\n", "nothing_like_this"),
        (NO_WEIGHTS, "no weights"),
        (EXITS, "exited with code 9"),
        ("def init():\n    pass\n", "run()"),
        ("def init(:\n", "score.py"),
    ],
)
def test_a_script_that_cannot_load_ends_the_server_with_its_cause(
    tmp_path: Path, script: str, complaint: str
) -> None:
    server = Server(tmp_path, script)
    assert server.process.wait(timeout=60) == 3
    assert complaint in server.log.read_text()
    server.client.close()


@pytest.mark.slow
def test_a_script_that_fails_to_load_again_is_reported_and_recovers(tmp_path: Path) -> None:
    flag = tmp_path / "broken"
    failing = SCRIPT.replace("    pass", f"    assert not os.path.exists({str(flag)!r})", 1)
    server = Server(tmp_path, failing).wait_ready()
    try:
        flag.touch()
        assert server.score(exit=True).status_code == 500
        until(lambda: server.get("/readyz") == 503)
        answer = server.score(a=1)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert server.get("/") == 200
        flag.unlink()
        until(lambda: server.get("/readyz") == 200)
        assert server.score(a=1).status_code == 200
    finally:
        server.stop()


@pytest.mark.slow
def test_a_taken_port_is_said_in_one_line(server: Server, tmp_path: Path) -> None:
    second = subprocess.run(
        [*COMMAND, str(tmp_path / "score.py"), "--port", str(server.port)],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert second.returncode == 1
    assert f"cannot listen on 0.0.0.0:{server.port}" in second.stderr
    assert "Traceback" not in second.stderr


ENDLESS = """
from azureml.contrib.services.aml_request import rawhttp
from azureml.contrib.services.aml_response import AMLResponse

def init(): pass
def endless():
    while True:
        yield b"x" * 1000
@rawhttp
def run(request):
    return AMLResponse(endless() if request.args.get("endless") else "done", 200)
"""


@pytest.mark.slow
def test_an_endless_stream_ends_with_its_client(tmp_path: Path) -> None:
    server = Server(tmp_path, ENDLESS).wait_ready()
    try:
        with httpx.stream("GET", f"{server.url}/score?endless=1", trust_env=False) as answer:
            assert next(answer.iter_bytes(1000)) == b"x" * 1000
        assert server.score().text == "done"  # the one worker, or its successor, is free again
    finally:
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"), [("SCORING_TIMEOUT_MS", "soon"), ("AML_CORS_ORIGINS", "(")]
)
def test_a_setting_that_cannot_be_used_is_said_in_one_line(
    tmp_path: Path, name: str, value: str
) -> None:
    server = Server(tmp_path, SCRIPT, **{name: value})
    assert server.process.wait(timeout=60) != 0
    said = server.log.read_text()
    assert f"{name}: " in said
    assert "Traceback" not in said
    server.client.close()
