"""One rollout for a device without and a device with an FPGA board, which is emulated: with the
real programs, from the compiler to POST /score on the device."""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from benchmarks.edge.fleet import Fleet
from tests.broker import Mosquittos
from tests.fpga.build.networks import inputs, write

pytestmark = [pytest.mark.slow, pytest.mark.broker, pytest.mark.xdist_group("edge flow")]

PC, BOARD = "pc-1", "z2-1"
IS_BOARD = 'board == "pynq-z2"'
ROWS = inputs(2, seed=7)
BODY = {"x": ROWS.tolist()}


@pytest.fixture
def fleet(
    tmp_path: Path, mosquittos: Mosquittos, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fleet]:
    """A workspace with net:1 for processes and two versions of net-fpga, and two devices. The
    agents' environment says that the board is emulated."""
    monkeypatch.setenv("INFERRY_FPGA_BOARD", f"emulated:test-{os.getpid()}")
    with Fleet(tmp_path) as found:
        write(tmp_path)
        found.inferry("model", "register", "model.onnx", "--name", "net")
        for _ in range(2):
            found.inferry("image", "create", "net", "--model", "net", "--no-proof")
            found.inferry(
                "image", "create", "net-fpga", "--model", "net", "--kind", "fpga",
                "--calibration", "calibration.npz", "--lanes", "8",
            )  # fmt: skip
        for device, tags in ((PC, ()), (BOARD, ("--tag", "board=pynq-z2"))):
            found.enroll(device, *tags, extra='[modules]\nhosts = ["process"]\n')
            found.start_agent(device)
        yield found


def test_docker_and_fpga_devices_have_one_rollout(fleet: Fleet) -> None:
    fleet.inferry(
        "edge", "deploy", "sorters", "--module", "net=net:1", "--for", IS_BOARD, "net-fpga:1",
        "--watch-s", "1",
    )  # fmt: skip
    images = {PC: "net:1", BOARD: "net-fpga:1"}
    for device, image in images.items():
        fleet.wait(f"{image} runs", lambda d=device, i=image: fleet.runs(d, i, "net"))  # type: ignore[misc]
    answers = {device: np.array(_score(fleet, device)) for device in images}
    assert np.abs(answers[PC] - answers[BOARD]).max() < 0.1
    assert (answers[PC] != answers[BOARD]).any()  # the one is float, the other int8
    assert "drives the board Emulated" in fleet.inferry("edge", "logs", BOARD, "net")

    port = fleet.module(BOARD, "net")["port"]
    with Asking(port) as asking:
        fleet.inferry(
            "edge", "rollout", "start", "sorters", "net", "net:2", "--for", IS_BOARD, "net-fpga:2",
            "--batch", "100%", "--watch",
        )  # fmt: skip
        fleet.wait("net-fpga:2 runs", lambda: fleet.runs(BOARD, "net-fpga:2", "net"))
    assert fleet.runs(PC, "net:2", "net")
    assert asking.errors == []
    assert asking.count > 0
    assert fleet.module(BOARD, "net")["port"] == port
    assert fleet.module(BOARD, "net")["restarts"] == 0

    a_second_module_is_told_who_has_the_board(fleet)
    a_board_that_is_not_there_brings_the_old_version_back(fleet)
    a_killed_agent_finds_it_running(fleet)


def a_second_module_is_told_who_has_the_board(fleet: Fleet) -> None:
    fleet.inferry("edge", "deploy", "second", "--module", "other=net-fpga:1", "--device", BOARD)
    fleet.wait("it is refused", lambda: fleet.module(BOARD, "other").get("phase") == "failed")
    assert "uses the board" in fleet.module(BOARD, "other")["error"]
    fleet.inferry("edge", "deployments", "delete", "second")
    assert _score(fleet, BOARD)


def a_board_that_is_not_there_brings_the_old_version_back(fleet: Fleet) -> None:
    fleet.inferry(
        "edge", "deploy", "sorters", "--module", "net=net:2", "--env", "INFERRY_FPGA_BOARD=auto"
    )
    fleet.wait("it is taken back", lambda: fleet.module(BOARD, "net")["phase"] == "failed")
    module = fleet.module(BOARD, "net")
    assert "this machine has no FPGA board" in module["error"]
    assert (module["image"], module["check"]) == ("net-fpga:2", "health")
    fleet.wait("the old settings serve", lambda: fleet.runs(BOARD, "net-fpga:2", "net"))
    assert _score(fleet, BOARD)
    # Where the variable means nothing.
    fleet.wait("net:2 still runs", lambda: fleet.runs(PC, "net:2", "net"))


def a_killed_agent_finds_it_running(fleet: Fleet) -> None:
    port = fleet.module(BOARD, "net")["port"]
    before = fleet.json("edge", "devices", BOARD)["reported_at"]
    fleet.kill(BOARD)
    assert _ask(port)
    fleet.start_agent(BOARD)
    fleet.wait(
        "the device is back",
        lambda: fleet.json("edge", "devices", BOARD)["reported_at"] > before,
    )
    module = fleet.module(BOARD, "net")
    assert (module["port"], module["restarts"]) == (port, 0)


def _score(fleet: Fleet, device: str) -> Any:
    """The only output."""
    (answer,) = fleet.score(device, BODY, "net").values()
    return answer


def _ask(port: int) -> Any:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as link:
        link.request("POST", "/score", json.dumps(BODY), {"Content-Type": "application/json"})
        answer = link.getresponse()
        text = answer.read()
        assert answer.status == 200, f"HTTP {answer.status}: {text.decode()}"
        return json.loads(text)


class Asking:
    """A client that asks all the time, with a connection for each request."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self.errors: list[str] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(port,))

    def _ask(self, port: int) -> None:
        while not self._end.wait(0.02):
            try:
                _ask(port)
                self.count += 1
            except (AssertionError, OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
