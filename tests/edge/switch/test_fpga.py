"""Modules whose image is for an FPGA: one version at a time has the board."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.hosts.memory import Behaviour, MemoryHost
from edge.hosts.port import Instance, InstanceId
from edge.messages.desired import Update
from edge.stock.port import ImageKind, StoredImage, StoredLayer
from edge.switch.golden import made_from_signature
from registry.fpga_artifact import ENGINE, PARTS
from tests.edge.switch.device import GOOD, Device, answers, digest, stored_image
from tests.edge.switch.test_crash import killed_at, without_next

LIVE = InstanceId("digits", "live")
CAUSE = "this image was made for simulation and cannot run on a real board"
OTHERS = 1000
"""Images from this number on are no FPGA images."""


def fpga_image(number: int) -> StoredImage:
    """As a device has it: a layer for each file, and no config."""
    layers = tuple(
        StoredLayer(digest(1000 * i + number), 1, part.media_type, "", "")
        for i, part in enumerate(PARTS, 1)
    )
    return StoredImage(digest(number), "fpga", "digits", number, layers, b"{}", digest(9), None)


class Board:
    """Of one device: who has it, and what was refused as somebody has it."""

    def __init__(self) -> None:
        self.users: set[InstanceId] = set()
        self.refused: list[InstanceId] = []


class BoardHost(MemoryHost):
    """A process host whose FPGA modules need the one board."""

    def __init__(self, behaviours: Mapping[str, Behaviour], board: Board) -> None:
        super().__init__(behaviours, kind="process")
        self.board = board

    def start(self, instance: Instance) -> None:
        if int(instance.digest[7:], 16) < OTHERS:
            if self.board.users - {instance.id}:
                self.board.refused.append(instance.id)
            self.board.users.add(instance.id)
        super().start(instance)

    def reload(self, id: InstanceId) -> None:
        """As the server does: with what cannot be loaded the old generation goes on."""
        module = self._modules[id]
        if self._behaviour(module.instance).exit_code is None:
            super().reload(id)
            return
        self._called("reload", str(id))
        tries = sum("reload failed" in line for line in module.log)
        module.say(f"reload failed, the old generation goes on: error: {CAUSE} ({tries})")

    def logs(self, id: InstanceId, lines: int) -> str:
        said = super().logs(id, lines)
        return f"error: {CAUSE}\n{said}" if "ended with" in said else said

    def stop(self, id: InstanceId, grace_s: float = 10.0) -> None:
        super().stop(id, grace_s)
        self.board.users.discard(id)


class FpgaDevice(Device):
    """A device with a board, without Docker."""

    def __init__(self, folder: Path, behaviours: Mapping[int, Behaviour], **more: Any) -> None:
        super().__init__(folder, behaviours, **more)
        self.unit.stop()
        self.board = Board()
        known = {digest(number): behaviour for number, behaviour in behaviours.items()}
        self.host.close()
        self.host = BoardHost(known, self.board)
        self.tools.hosts.clear()  # type: ignore[attr-defined]
        self.tools.hosts["process"] = self.host  # type: ignore[index]
        pull = self.puller.pull

        def pull_either(image: str, digest: str, **more: Any) -> StoredImage:
            found = pull(image, digest, **more)
            number = int(digest.removeprefix("sha256:"), 16)
            if number < OTHERS:
                found = self.stock.images[digest] = fpga_image(number)
            return found

        self.puller.pull = pull_either  # type: ignore[method-assign]
        self.unit = self._unit()


def test_the_server_in_service_takes_a_new_version_so_that_clients_wait(tmp_path: Path) -> None:
    with FpgaDevice(tmp_path, {1: GOOD, 2: GOOD}) as device:
        assert device.settle(1).phase == "idle"
        started = device.host.list()[0].started_at_s
        device.host.calls.clear()
        report = device.settle(2)
        assert (report.phase, report.digest, report.host) == ("idle", digest(2), "process")
        assert device.board.refused == []
        assert ("reload", "digits/live") in device.host.calls
        assert ("stop", "digits/live") not in device.host.calls
        assert device.host.list()[0].started_at_s == started


def test_with_other_settings_a_new_version_takes_the_board_after_the_old_one(
    tmp_path: Path,
) -> None:
    with FpgaDevice(tmp_path, {1: GOOD, 2: GOOD}) as device:
        assert device.settle(1).phase == "idle"
        device.host.calls.clear()
        report = device.settle(2, env={"INFERRY_FPGA_BOARD": "local"})
        assert (report.phase, report.digest) == ("idle", digest(2))
        assert device.board.refused == []
        calls = [each for each in device.host.calls if each[0] in ("start", "stop", "reload")]
        assert calls[0] == ("stop", "digits/live")
        assert {each for each in calls[1:]} == {("start", "digits/live")}


def test_it_takes_the_board_of_nobody_when_it_replaces_another_kind(tmp_path: Path) -> None:
    number = OTHERS + 1
    with FpgaDevice(tmp_path, {number: GOOD, 1: GOOD}) as device:
        for each in (number, 1, number, 1):
            assert device.settle(each).phase == "idle", each
        assert device.board.refused == []


@pytest.mark.parametrize("number", [1, OTHERS + 1])
def test_a_version_that_the_board_refuses_is_taken_back_and_the_cause_is_told(
    tmp_path: Path, number: int
) -> None:
    with FpgaDevice(tmp_path, {number: GOOD, 2: Behaviour(exit_code=1)}) as device:
        device.settle(number)
        report = device.settle(2, update=Update(watch_s=0.1, start_s=2.0))
        assert (report.phase, report.check, report.digest) == ("failed", "health", digest(number))
        assert report.health == "healthy"
        assert report.error is not None
        assert CAUSE in report.error
        told = next(body for kind, body in device.events if kind == "rolled back")
        assert told["why"] == report.error
        assert device.settle(number).phase == "idle"


def test_a_first_version_that_the_board_refuses_says_so(tmp_path: Path) -> None:
    with FpgaDevice(tmp_path, {1: Behaviour(exit_code=1)}) as device:
        device.want(1)
        report = device.wait(lambda r: r.phase == "failed")
        assert (report.check, report.digest) == ("health", None)
        assert CAUSE in str(report.error)
        assert device.board.users == set()


@pytest.mark.parametrize("kind", ["tolerance", "status"])
def test_golden_inputs_decide(tmp_path: Path, kind: str) -> None:
    golden = {"v": 1, "cases": [{"input": [1], "output": {"y": [1.0]}}]}
    bad = Behaviour(score=answers('{"y": [1.5]}') if kind == "tolerance" else lambda _: (503, b""))
    with FpgaDevice(tmp_path, {1: GOOD, 2: bad}, golden={1: golden, 2: golden}) as device:
        assert device.settle(1).phase == "idle"
        report = device.settle(2)
        assert (report.phase, report.check, report.digest) == ("failed", kind, digest(1))
        assert device.board.refused == []


@pytest.mark.parametrize(
    ("update", "said"),
    [
        (Update(strategy="beside", watch_s=0.1), "two versions cannot have one board"),
        (Update(shadow_s=60, watch_s=0.1), "a shadow run needs two versions"),
    ],
)
def test_two_versions_beside_each_other_are_refused(
    tmp_path: Path, update: Update, said: str
) -> None:
    with FpgaDevice(tmp_path, {1: GOOD, 2: GOOD}) as device:
        device.settle(1)
        device.host.calls.clear()
        report = device.settle(2, update=update)
        assert (report.phase, report.digest) == ("failed", digest(1))
        assert said in str(report.error)
        assert ("stop", "digits/live") not in device.host.calls
        assert device.settle(2, update=Update(strategy="replace", watch_s=0.1)).phase == "idle"


def test_docker_cannot_run_it(tmp_path: Path) -> None:
    with FpgaDevice(tmp_path, {1: GOOD}) as device:
        device.want(1, host="docker")
        report = device.wait(lambda r: r.phase == "failed")
        assert "Docker cannot run it" in str(report.error)


def test_a_restarted_agent_finds_it_in_service(tmp_path: Path) -> None:
    with FpgaDevice(tmp_path, {1: GOOD}) as device:
        device.settle(1)
        started = device.host.list()[0].started_at_s
        device.restart_agent()
        assert device.settle(1).phase == "idle"
        assert device.host.list()[0].started_at_s == started


@pytest.mark.slow
@pytest.mark.parametrize("is_good", [True, False], ids=["good", "refused"])
def test_a_kill_at_every_step_leaves_one_version_with_the_board(
    is_good: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = GOOD if is_good else Behaviour(exit_code=1)
    update = Update(watch_s=0.05, start_s=2.0)
    with FpgaDevice(tmp_path, {1: GOOD} | dict.fromkeys(range(2, 100), new)) as device:
        device.settle(1, update=update)
        at, is_over = 1, False
        while not is_over:
            number = at + 1
            device.unit.stop()
            is_over = killed_at(at, device, number, update, monkeypatch)
            device.unit = device._unit()  # the next process
            report = device.settle(number, update=update)
            assert report.image == f"digits:{number if is_good else 1}", (at, report)
            device.wait(without_next(device))
            assert device.board.users == {LIVE}
            at += 1
        assert at > 10
        assert device.board.refused == []


def test_zeros_are_made_of_the_signature_of_an_fpga_image_too() -> None:
    signature = {"inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 2]}]}
    made = made_from_signature(
        msgspec.json.encode({"engine": ENGINE, "models": [{"signature": signature}]})
    )
    assert made is not None
    assert made.cases[0].input == {"x": [[0.0, 0.0]]}


def _kinds() -> list[Callable[[int], StoredImage]]:
    return [fpga_image, lambda number: stored_image(number, 1)]


def test_images_here_are_what_their_names_say() -> None:
    kinds: list[ImageKind] = [make(1).kind for make in _kinds()]
    assert kinds == ["fpga", "container"]
