"""``kill -9`` while clients log: what was answered is there, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from registry import Workspace
from tests.ports import free_port
from tests.runtime.mlflow_service.conftest import API

ROOT = Path(__file__).parents[3]
CLIENTS = 4
ENOUGH = 60


class _Logger(threading.Thread):
    """One client: logs 0, 1, 2, ... and makes a run each time, until the service is gone."""

    def __init__(self, url: str, run: str, enough: threading.Semaphore) -> None:
        super().__init__()
        self.run_id = run
        self.answered: list[int] = []
        self.made: list[str] = []
        self._url = url
        self._enough = enough

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as http:
            for number in range(100_000):
                body = {"run_id": self.run_id, "key": "m", "value": number, "timestamp": number}
                try:
                    answer = http.post(f"{API}runs/log-metric", json=body | {"step": number})
                except httpx.HTTPError:
                    return
                assert answer.status_code == 200, answer.text
                self.answered.append(number)
                try:
                    answer = http.post(f"{API}runs/create", json={"experiment_id": "0"})
                except httpx.HTTPError:
                    return
                assert answer.status_code == 200, answer.text
                self.made.append(answer.json()["run"]["info"]["run_id"])
                self._enough.release()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            httpx.get(f"{url}/api/3.0/mlflow/server-info", timeout=5)
            return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError("the service did not begin")


@pytest.mark.slow
def test_what_was_answered_outlives_the_service(tmp_path: Path) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    runs = [workspace.tracking.runs.create("e").id for _ in range(CLIENTS)]
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.tracking.mlflow_inferry", tmp_path / "ws", str(port)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process)
        enough = threading.Semaphore(0)
        loggers = [_Logger(url, run, enough) for run in runs]
        for logger in loggers:
            logger.start()
        for _ in range(ENOUGH):
            assert enough.acquire(timeout=60)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    for logger in loggers:
        logger.join()
    made = [id for logger in loggers for id in logger.made]
    assert len(made) == len(set(made))
    for id in made:
        assert workspace.tracking.runs.get(id).experiment_id == 0
    for logger in loggers:
        steps = [p.step for p in workspace.tracking.metrics.history(logger.run_id, "m")]
        assert steps[: len(logger.answered)] == logger.answered
        assert len(steps) <= len(logger.answered) + 1  # one may have been written unanswered
