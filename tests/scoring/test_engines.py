"""Engines by name: found, refused with what is missing, and served by a real server though they are
lost and come back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from scoring.bundle import Bundle, open_bundle
from scoring.config import ServerConfig
from scoring.engines import find
from scoring.errors import BundleError, EngineLostError, ModelLoadError
from scoring.metrics import Ledger
from scoring.model_engine import ModelEngine
from scoring.quarantine import Quarantine
from scoring.repository import ModelRepository
from scoring.server import serve
from scoring.service import Shared, bundle_service
from tests.scoring.fake_engine import FakeBoard
from tests.scoring.little_models import FakeModel
from tests.system.hostile_server import ROOT, Running, serve_model

ENGINE = "tests.scoring.fake_engine:FakeBoard"
BODY = b'{"x": [1, 2]}'


def _bundle(folder: Path, *, factor: float = 2.0, engine: str = ENGINE, models: int = 1) -> Path:
    where = folder / "bundle"
    for number in range(models):
        (where / f"m{number}").mkdir(parents=True, exist_ok=True)
        model = {"factor": factor, "board": str(folder / f"board{number}")}
        (where / f"m{number}/model.json").write_text(json.dumps(model))
    document = {
        "schema_version": 1, "name": "doubling", "version": 1, "engine": engine,
        "models": [
            {"name": f"m{number}", "version": 1, "path": f"m{number}", "entry": "model.json"}
            for number in range(models)
        ],
    }  # fmt: skip
    (where / "bundle.json").write_text(json.dumps(document))
    return where


# Finding


def test_an_engine_is_found_by_its_name() -> None:
    found = find(ENGINE)
    assert found.load == FakeBoard.load
    assert found.is_exclusive
    assert not found.is_ours
    assert find("onnx").is_ours
    assert not find("onnx").is_exclusive


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no.such:Engine", "is not installed here: install the package that has 'no.such'"),
        ("scoring.nothing:Engine", "install the package that has 'scoring.nothing'"),
        ("tests.scoring.fake_engine:Nobody", "does not exist in its module"),
        ("tests.scoring.fake_engine:Loadless", "does not exist in its module"),
        ("tests.scoring.fake_engine:POLL_S", "does not exist in its module"),
        ("tests.scoring.needy_engine:Needy", "needs 'nobody_has_this': install that"),
        ("tests.scoring.clumsy_engine:Clumsy", "cannot be imported: ZeroDivisionError"),
        ("os.path", "onnx, script or module:Class"),
        ("../x:Y", "onnx, script or module:Class"),
        ("a b:C", "onnx, script or module:Class"),
        ("", "onnx, script or module:Class"),
        (".a:B", "onnx, script or module:Class"),
    ],
)
def test_what_cannot_be_found_is_said_in_one_line(name: str, said: str) -> None:
    with pytest.raises(BundleError, match=said) as refusal:
        find(name)
    assert "\n" not in str(refusal.value)


def _shared(path: Path) -> Shared:
    return Shared(ServerConfig(what=path), Ledger(), Quarantine())


def test_one_model_is_all_that_a_board_takes(tmp_path: Path) -> None:
    bundle = open_bundle(_bundle(tmp_path, models=2))
    with pytest.raises(BundleError, match=r"has 2 models, and .* takes one"):
        bundle_service(bundle, _shared(tmp_path), {})


def test_more_than_one_process_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve(ServerConfig(what=_bundle(tmp_path), port=0, processes=2)) == 1
    assert capsys.readouterr().err == "error: one server process can have the board, not 2\n"


# A model that is lost, in this process


class Lossy(FakeModel):
    """Is lost when it is told."""

    def __init__(self) -> None:
        super().__init__(self._refuse)
        self.broken: str | None = None
        self.is_coming_back = True
        self.restarts = 0
        self.is_lost_by_running = False
        self._on_change: Callable[[], None] = lambda: None

    def watch(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change

    def say(self, broken: str | None, *, is_coming_back: bool = True) -> None:
        self.broken, self.is_coming_back = broken, is_coming_back
        self._on_change()

    def _refuse(self, x: Any) -> None:
        if self.is_lost_by_running:
            self.say("lost")
            raise EngineLostError("lost")


def test_a_batch_that_is_lost_is_not_tried_again_and_the_loss_is_known_before_its_end() -> None:
    model = Lossy()

    async def scenario() -> None:
        engine = ModelEngine(lambda: model, inline_s=0.0)
        changes: list[tuple[bool, int, str | None, str | None]] = []
        await engine.start(
            lambda: changes.append((engine.ready, engine.slots, engine.broken, engine.trouble))
        )
        model.is_lost_by_running = True
        runs = len(model.ran)
        answer = asyncio.get_running_loop().create_future()
        one = {"x": np.ones(1, np.float32)}

        def done(found: Any) -> None:
            answer.set_result((found, engine.slots))

        engine.run([one] * 3, done)
        (found, slots) = await answer
        assert [type(each) for each in found] == [EngineLostError] * 3
        assert len(model.ran) == runs + 1
        assert slots == 0, "else the next batch would be lost at once"
        model.say("still lost", is_coming_back=False)
        model.say(None)
        while not engine.ready:
            await asyncio.sleep(0)
        assert changes[0] == (True, 1, None, None)
        assert changes[1][0:3] == (False, 0, None)
        assert changes[-1] == (True, 1, None, None)
        await engine.close()
        assert (engine.slots, engine.ready, engine.is_loaded) == (0, False, False)
        assert model.is_closed

    asyncio.run(scenario())


def test_one_that_does_not_come_back_is_broken() -> None:
    model = Lossy()

    async def scenario() -> None:
        engine = ModelEngine(lambda: model)
        await engine.start(lambda: None)
        model.say("it is gone", is_coming_back=False)
        await asyncio.sleep(0)
        assert (engine.broken, engine.trouble, engine.ready) == ("it is gone", "it is gone", False)
        assert engine.is_loaded
        await engine.close()

    asyncio.run(scenario())


def test_a_model_that_is_lost_while_it_is_tried_does_not_load() -> None:
    model = Lossy()
    model.is_lost_by_running = True

    async def scenario() -> None:
        engine = ModelEngine(lambda: model)
        with pytest.raises(ModelLoadError, match="lost"):
            await engine.start(lambda: None)
        assert model.is_closed, "it holds a board"
        await engine.close()

    asyncio.run(scenario())


def test_a_model_of_others_never_runs_on_the_loop(tmp_path: Path) -> None:
    bundle = open_bundle(_bundle(tmp_path))

    async def scenario() -> None:
        repository = bundle_service(bundle, _shared(tmp_path), {})
        assert isinstance(repository, ModelRepository)
        await repository.start()
        assert repository.main is not None
        answers: list[Any] = []
        engine = repository.main.engine
        engine.run([{"x": np.ones(1, np.float32)}], answers.append)
        assert not answers
        while not answers:
            await asyncio.sleep(0)
        await repository.close()

    asyncio.run(scenario())


def test_loading_anew_gives_the_board_up_before(tmp_path: Path) -> None:
    bundle = open_bundle(_bundle(tmp_path))
    assert isinstance(bundle, Bundle)

    async def scenario() -> None:
        repository = bundle_service(bundle, _shared(tmp_path), {})
        assert isinstance(repository, ModelRepository)
        await repository.start()
        await repository.load("m0")
        assert [line.is_ready for line in repository.index()] == [True]
        model = tmp_path / "bundle/m0/model.json"
        model.write_text(json.dumps({"board": str(tmp_path / "board0")}))
        with pytest.raises(ModelLoadError, match="no factor"):
            await repository.load("m0")
        assert not repository.is_ready
        (line,) = repository.index()
        assert (line.is_ready, line.reason) == (False, "it has no factor")
        await repository.close()

    asyncio.run(scenario())


# A real server


def _ready(server: Running) -> tuple[int, str]:
    answer = httpx.get(f"{server.url}/readyz", timeout=10, trust_env=False)
    return answer.status_code, answer.text


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.slow
def test_a_server_tells_the_truth_while_its_engine_is_lost_and_answers_after(folder: Path) -> None:
    state = folder / "board0.state"
    with serve_model(folder, model=_bundle(folder)) as server:
        assert server.score(BODY).json() == {"y": [2.0, 4.0]}
        assert "1 server process" in server.log.read_text()
        config = httpx.get(f"{server.url}/v2/models/m0/config", trust_env=False).json()
        assert (config["platform"], config["default_model_filename"]) == ("FakeBoard", "model.json")
        state.write_text("lost")
        _until(lambda: _ready(server)[0] == 503)
        assert "the board is lost" in _ready(server)[1]
        model = httpx.get(f"{server.url}/v2/models/m0/ready", trust_env=False)
        assert (model.status_code, model.json()["error"]) == (503, "the board is lost")
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(server.score(BODY)))
        thread.start()
        state.unlink()
        thread.join(60)
        assert answers[0].json() == {"y": [2.0, 4.0]}, "it waited"
        assert _ready(server)[0] == 200
        state.write_text("broken")
        _until(lambda: _ready(server)[0] == 503)
        refused = server.score(BODY)
        assert refused.status_code == 503
        assert "the board is broken" in refused.text
        assert "retry-after" in refused.headers
        state.unlink()
        _until(lambda: _ready(server)[0] == 200)
        assert server.score(BODY).json() == {"y": [2.0, 4.0]}
        _until(lambda: 'inferry_restarts_total{kind="worker"} 2' in _metrics(server))


def _metrics(server: Running) -> str:
    return httpx.get(f"{server.url}/metrics", timeout=10, trust_env=False).text


@pytest.mark.slow
def test_a_reload_with_one_board_refuses_nobody(folder: Path) -> None:
    with serve_model(folder, model=_bundle(folder)) as server:
        is_over = threading.Event()
        found: list[tuple[int, str]] = []
        cut: list[str] = []

        def ask() -> None:
            with httpx.Client(trust_env=False, timeout=60) as client:
                while not is_over.is_set():
                    try:
                        answer = client.post(f"{server.url}/score", content=BODY)
                    except httpx.TransportError as error:
                        cut.append(repr(error))
                        continue
                    found.append((answer.status_code, answer.text))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for factor in (3.0, 5.0):
            _bundle(folder, factor=factor)
            server.process.send_signal(signal.SIGHUP)
            wanted = json.dumps({"y": [factor, 2 * factor]}, separators=(",", ":"))
            _until(lambda wanted=wanted: bool(found) and found[-1] == (200, wanted))  # type: ignore[misc]
        (folder / "bundle/m0/model.json").write_text("{}")
        server.process.send_signal(signal.SIGHUP)
        _until(lambda: "the old generation goes on" in server.log.read_text())
        # Its processes are gone, so it loads what lies there: nothing that loads.
        _until(lambda: any(status == 503 for status, _ in found) or is_over.is_set())
        _bundle(folder, factor=7.0)
        _until(lambda: found[-1] == (200, '{"y":[7.0,14.0]}'))
        is_over.set()
        for thread in threads:
            thread.join(60)
        until = next(n for n, (status, _) in enumerate(found) if status == 503)
        assert {status for status, _ in found[:until]} == {200}
        assert {status for status, _ in found} == {200, 503}
        assert not cut, "whoever is connected when loading fails hears it"


@pytest.mark.slow
def test_a_second_server_on_the_board_ends_with_code_1_and_one_line(folder: Path) -> None:
    bundle = _bundle(folder)
    with serve_model(folder, model=bundle) as server:
        second = subprocess.run(
            [sys.executable, "-m", "scoring", str(bundle), "--port", "0"],
            capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert second.returncode == 1
        assert second.stderr.splitlines()[-1] == "error: another process has the board"
        assert "Traceback" not in second.stderr
        assert server.score(BODY).status_code == 200
