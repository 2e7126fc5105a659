"""The server on simulated hardware, through real pynq: in the process that drives the board, and
over PYNQ.remote, where the board can go away too."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from fpga.board import designs
from fpga.isa.shape import SMALL
from fpga.simulation.board import library
from tests.fpga.engine.bundles import Digits
from tests.fpga.engine.test_server import _driver, _pid_or_none, _ready, _refused, _until, clients
from tests.ports import free_port
from tests.system.hostile_server import ROOT, serve_model

TOOLS = [tool for tool in ("verilator", "g++") if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("pynq"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(TOOLS), reason=f"{TOOLS} are not installed: scripts/system-packages"),
]
PYTHON = ROOT / ".venv-pynq/bin/python"
_MINE = os.getpid()
HOST = f"127.{60 + _MINE % 40}.{_MINE // 40 % 250}.2"
"""Of this process alone: boards are told apart by their addresses."""


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    """pynq's Python, and the Verilated engine, built here where it has time."""
    subprocess.run([ROOT / "scripts/pynq"], check=True, timeout=280)
    library(SMALL, designs.build_hash(SMALL))


@pytest.fixture(autouse=True)
def python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERRY_FPGA_PYTHON", str(PYTHON))


@contextmanager
def remote_board(port: int, kind: str = "pynq-z2") -> Iterator[subprocess.Popen[str]]:
    """A simulated board behind PYNQ.remote, in a process of its own."""
    with subprocess.Popen(
        [PYTHON, "-m", "fpga.board", "--listen", HOST, "--port", str(port), "--board", kind],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert "is ready at" in process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_a_simulated_board_answers_exactly_and_comes_back(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERRY_FPGA_BOARD", "simulated")
    with serve_model(tmp_path, model=digits.root) as server:
        answer = server.score(digits.body(0, 256))
        assert digits.is_answer(answer.text, 0, 256)
        mapped = Path(f"/proc/{_driver(server)}/maps").read_text()
        assert ".venv-pynq" in mapped
        assert str(library(SMALL, designs.build_hash(SMALL))) in mapped
        with clients(server, digits, count=4) as asking:
            driver = _driver(server)
            os.kill(driver, signal.SIGKILL)
            _until(lambda: _pid_or_none(server) not in (None, driver))
            asking.more(50)
            assert len(asking.failed) <= 4


def test_a_remote_board_answers_exactly_is_one_servers_and_comes_back(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port(HOST)
    monkeypatch.setenv("INFERRY_FPGA_BOARD", f"remote:{HOST}:{port}")
    with remote_board(port) as daemon, serve_model(tmp_path, model=digits.root) as server:
        answer = server.score(digits.body(0, 64))
        assert digits.is_answer(answer.text, 0, 64)
        said = f"error: process {_driver(server)} uses the board; end it first"
        assert _refused(digits) == (1, said)
        daemon.kill()
        daemon.wait()
        began = time.monotonic()
        lost = server.score(digits.body(0))
        assert lost.status_code == 503
        assert time.monotonic() - began < 15
        assert str(ROOT) not in lost.text
        _until(lambda: _ready(server)[0] == 503)
        with remote_board(port):
            _until(lambda: _ready(server)[0] == 200)
            answer = server.score(digits.body(5, 3))
            assert digits.is_answer(answer.text, 5, 3)


def test_boards_that_cannot_be_had_are_said_at_the_start(digits: Digits) -> None:
    """One of another part, and one that is not there; side by side, as pynq waits for 5 s."""
    port, nowhere = free_port(HOST), free_port(HOST)
    with remote_board(port, "arty-z7-10"), ThreadPoolExecutor(2) as pool:
        ended = [
            pool.submit(_refused, digits, INFERRY_FPGA_BOARD=f"remote:{HOST}:{each}")
            for each in (port, nowhere)
        ]
        (other_code, other), (none_code, none) = (each.result() for each in ended)
    assert (other_code, none_code) == (1, 1)
    assert other.startswith("error: this image is for a 7z020clg400, and Arty-Z7-10 has a 7z010")
    assert none.startswith(f"error: no board answers at {HOST}:{nowhere}")
