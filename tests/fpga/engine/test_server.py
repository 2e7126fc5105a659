"""A real server on an FPGA bundle: exact answers, few packets, and what it does when its board's
process is killed, hangs, is reloaded, or belongs to another server."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from fpga.engine import FpgaEngine
from scoring.bundle import open_bundle
from scoring.config import ServerConfig
from scoring.metrics import Ledger
from scoring.model_engine import Answered
from scoring.quarantine import Quarantine
from scoring.repository import ModelRepository
from scoring.rows import key_of
from scoring.service import Shared, bundle_service
from scoring.work import Work
from tests.fpga.engine.bundles import Digits
from tests.fpga.engine.odd_board import python_of
from tests.scoring.desk import ask
from tests.scoring.supervised import is_alive
from tests.system.hostile_server import ROOT, Running, serve_model

pytestmark = pytest.mark.slow
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An emulated board that all processes of a test share, so that two cannot have it."""
    name = f"emulated:{os.getpid()}-{tmp_path.name}"[:49]
    monkeypatch.setenv("INFERRY_FPGA_BOARD", name)
    return name


@dataclass
class Clients:
    """Ask without pause, each on its connection; ``found``: what came, in order."""

    server: Running
    digits: Digits
    found: list[tuple[float, float, int, str, bool]] = field(default_factory=list)
    """When it came, how long it took, status, text, and whether it was right."""
    is_over: threading.Event = field(default_factory=threading.Event)

    def ask(self, number: int) -> None:
        with httpx.Client(trust_env=False, timeout=WAIT_S) as client:
            while not self.is_over.is_set():
                number = (number + 7) % len(self.digits.rows)
                began = time.monotonic()
                answer = client.post(f"{self.server.url}/score", content=self.digits.body(number))
                now = time.monotonic()
                is_right = answer.status_code == 200 and self.digits.is_answer(answer.text, number)
                self.found.append((now, now - began, answer.status_code, answer.text, is_right))

    @property
    def failed(self) -> list[tuple[float, float, int, str, bool]]:
        return [each for each in self.found if each[2] != 200]

    def more(self, count: int) -> None:
        """Until so many more were answered well."""
        before = len(self.found) - len(self.failed)
        _until(lambda: len(self.found) - len(self.failed) >= before + count)


@contextmanager
def clients(server: Running, digits: Digits, count: int = 6) -> Iterator[Clients]:
    made = Clients(server, digits)
    threads = [threading.Thread(target=made.ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        made.more(50)
        yield made
    finally:
        made.is_over.set()
        for thread in threads:
            thread.join(WAIT_S)
    assert all(is_right for _, _, status, _, is_right in made.found if status == 200)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def _children(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(each) for each in path.read_text().split()]
    return found


def _driver(server: Running) -> int:
    """The process that drives the board: the only child of the only server process."""
    (process,) = _children(server.process.pid)
    (driver,) = _children(process)
    return driver


def _ready(server: Running) -> tuple[int, str]:
    answer = httpx.get(f"{server.url}/readyz", timeout=WAIT_S, trust_env=False)
    return answer.status_code, answer.text


def test_answers_are_exact_and_nothing_of_onnxruntime_is_there(
    digits: Digits, tmp_path: Path
) -> None:
    with serve_model(tmp_path, model=digits.root) as server:
        for first, count in ((0, 1), (1, 3), (10, 200)):
            answer = server.score(digits.body(first, count))
            assert answer.status_code == 200, answer.text
            assert digits.is_answer(answer.text, first, count)
        bad = server.score(b'{"x": [[1, 2, 3]]}')
        assert (bad.status_code, "expects" in bad.text) == (400, True)
        infinite = digits.body(0).replace(b"[[", b"[[1e999, ").replace(b", 0.0]]", b"]]")
        assert server.score(infinite).status_code == 400
        assert _ready(server)[0] == 200
        (process,) = _children(server.process.pid)
        assert len(os.listdir(f"/proc/{server.process.pid}/task")) == 1, "it forks"
        for pid in (server.process.pid, process, _driver(server)):
            mapped = Path(f"/proc/{pid}/maps").read_text()
            assert "numpy" in mapped
            assert "onnx" not in mapped
            assert "pynq" not in mapped


def test_many_requests_go_in_few_packets(digits: Digits) -> None:
    async def scenario() -> None:
        shared = Shared(ServerConfig(what=digits.root), Ledger(), Quarantine())
        repository = bundle_service(open_bundle(digits.root), shared, {})
        assert isinstance(repository, ModelRepository)
        await repository.start()
        service = repository.main
        assert service is not None
        assert service.engine.merging.allowed
        service.dispatcher.cost.pays = True  # whatever this machine's noise says
        engine = service.engine._model
        assert isinstance(engine, FpgaEngine)
        before = engine.counts

        def work(number: int, done: Any) -> Work[Any, Answered]:
            inputs = {"x": digits.rows[number : number + 1]}
            return Work(inputs, done, key=key_of(inputs))

        answers = await asyncio.gather(
            *(ask(service.dispatcher, lambda done, n=n: work(n, done)) for n in range(128))  # type: ignore[misc]
        )
        for number, answer in enumerate(answers):
            (value,) = answer.values()
            assert (value == digits.expected[number]).all()
        after = engine.counts
        assert after.samples - before.samples == 128
        assert after.packets - before.packets <= 8
        assert after.loads == 1
        await repository.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_killed_or_hangs_costs_one_batch(
    digits: Digits, tmp_path: Path, number: signal.Signals
) -> None:
    with (
        serve_model(tmp_path, model=digits.root) as server,
        clients(server, digits) as asking,
    ):
        states: set[tuple[int, str]] = set()
        driver = _driver(server)
        os.kill(driver, number)
        killed_at = time.monotonic()
        while _pid_or_none(server) in (driver, None):
            states.add(_ready(server))
            assert time.monotonic() - killed_at < WAIT_S
        asking.more(100)
        assert (503, True) in {
            (status, "board is not there now" in said) for status, said in states
        }
        assert _ready(server)[0] == 200
        failed = asking.failed
        assert len(failed) <= 6, "no more than a batch of so many clients has"
        assert (
            max((at for at, *_ in failed), default=0.0)
            - min((at for at, *_ in failed), default=0.0)
            < 5.0
        ), "all at once"
        for at, took_s, status, said, _ in failed:
            assert status == 503
            assert "the process that drives the board was lost" in said
            assert at - killed_at < 10.0, "and less than one with nothing else to do"
            assert took_s < 10.0
        metrics = httpx.get(f"{server.url}/metrics", trust_env=False).text
        assert 'inferry_restarts_total{kind="worker"} 1' in metrics


def _pid_or_none(server: Running) -> int | None:
    try:
        return _driver(server)
    except (ValueError, OSError):
        return None


def test_a_server_process_that_is_killed_leaves_the_board_to_the_next(
    digits: Digits, tmp_path: Path
) -> None:
    with serve_model(tmp_path, model=digits.root) as server:
        driver = _driver(server)
        (process,) = _children(server.process.pid)
        os.kill(driver, signal.SIGSTOP)  # it cannot see that its server goes
        os.kill(process, signal.SIGKILL)
        _until(lambda: _pid_or_none(server) not in (None, driver))
        _until(lambda: server.score(digits.body(0)).status_code == 200)
        assert not is_alive(driver)


def test_a_reload_under_load_fails_no_request(digits: Digits, tmp_path: Path) -> None:
    with (
        serve_model(tmp_path, model=digits.root) as server,
        clients(server, digits) as asking,
    ):
        for _ in range(2):
            driver = _driver(server)
            server.process.send_signal(signal.SIGHUP)
            _until(lambda driver=driver: _pid_or_none(server) not in (driver, None))  # type: ignore[misc]
            asking.more(50)
        assert asking.failed == []
        assert "reload failed" not in server.log.read_text()


def test_a_reload_of_what_is_damaged_brings_the_old_one_back(
    digits: Digits, tmp_path: Path
) -> None:
    """The bundle is a link, as the edge's and the command's are; a reload follows it anew."""
    link = tmp_path / "current"
    link.symlink_to(digits.root)
    damaged = tmp_path / "damaged"
    (damaged / "fpga").mkdir(parents=True)
    (damaged / "bundle.json").write_bytes((digits.root / "bundle.json").read_bytes())
    (damaged / "fpga/program.json").write_text("{}")
    with serve_model(tmp_path, model=link) as server, clients(server, digits) as asking:
        link.unlink()
        link.symlink_to(damaged)
        server.process.send_signal(signal.SIGHUP)
        _until(lambda: "the old generation goes on" in server.log.read_text())
        asking.more(50)
        assert asking.failed == []


def _refused(digits: Digits, **environ: str) -> tuple[int, str]:
    """The exit code and the last line of a server that does not start."""
    ended = subprocess.run(
        [sys.executable, "-m", "scoring", str(digits.root), "--port", "0"],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
    )  # fmt: skip
    lines = ended.stderr.splitlines()
    assert "Traceback" not in ended.stderr
    assert [line for line in lines if line.startswith("error")] == lines[-1:], ended.stderr
    return ended.returncode, lines[-1]


def test_a_second_server_on_the_board_is_told_who_has_it(digits: Digits, tmp_path: Path) -> None:
    with serve_model(tmp_path, model=digits.root) as server:
        said = f"error: process {_driver(server)} uses the board; end it first"
        assert _refused(digits) == (1, said)
        assert server.score(digits.body(0)).status_code == 200


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("real", "error: this image was made for simulation and cannot run on a real board"),
        ("other", "error: this image is for a 7z020clg400, and Arty-Z7-10 has a 7z010clg400"),
    ],
)
def test_an_image_for_another_board_is_refused_at_the_start(
    digits: Digits, tmp_path: Path, kind: str, said: str
) -> None:
    code, line = _refused(digits, INFERRY_FPGA_PYTHON=python_of(kind, tmp_path))
    assert code == 1
    assert line.startswith(said)


@pytest.mark.parametrize(
    ("board", "said"),
    [
        ("silicon", "error: INFERRY_FPGA_BOARD is 'silicon': it is auto, local"),
        ("auto", "error: this machine has no FPGA board; set INFERRY_FPGA_BOARD"),
    ],
)
def test_a_board_that_there_is_not_is_said(digits: Digits, board: str, said: str) -> None:
    code, line = _refused(digits, INFERRY_FPGA_BOARD=board)
    assert code == 1
    assert line.startswith(said)


def test_a_damaged_model_is_said(digits: Digits, tmp_path: Path) -> None:
    (tmp_path / "fpga").mkdir()
    (tmp_path / "bundle.json").write_bytes((digits.root / "bundle.json").read_bytes())
    (tmp_path / "fpga/program.json").write_text("[]")
    (tmp_path / "fpga/load.bin").write_bytes(b"")
    damaged = Digits(tmp_path, digits.artifact, digits.rows, digits.expected)
    code, line = _refused(damaged)
    assert code == 3, "it is the model's fault, as for others"
    assert re.match("error: the model does not load: ", line)
