"""A kill at any step of any update ends, after the next start, in the old or in the new version."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.hosts.memory import Behaviour
from edge.hosts.port import InstanceId
from edge.messages.desired import Module, Update
from edge.messages.reported import ModuleReport
from edge.switch.bundles import ModuleFolders
from edge.switch.updater import ModuleUpdater
from tests.edge.switch.device import GOOD, Device, answers, digest

pytestmark = pytest.mark.slow
UPDATE = Update(watch_s=0.1, start_s=2.0)


class Killed(BaseException):
    """The end of the process, at this point."""


class Killer:
    """Counts what is done, and ends the process at number ``at``."""

    def __init__(self, device: Device, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.count = 0
        self.at = at
        for owner, names in (
            (device.records, ["put"]),
            (device.host, ["prepare", "start", "stop", "reload"]),
            (device.puller, ["pull"]),
            (ModuleFolders, ["serve"]),
        ):
            for name in names:
                monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self._look()  # before it, and after it
            result = call(*arguments, **options)
            self._look()
            return result

        return counted

    def _look(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # the keeper's: between two steps of ours
        self.count += 1
        if self.count == self.at:
            raise Killed


def step_until_done(unit: ModuleUpdater, module: Module) -> None:
    for _ in range(200):
        unit.step()
        for keeper in unit._service._keepers.values():
            keeper.step()
        report = unit.report()
        if report.wanted == module.digest and report.phase in ("idle", "failed"):
            return
    raise AssertionError(unit.report())


def without_next(device: Device) -> Callable[[ModuleReport], bool]:
    return lambda report: InstanceId("digits", "next") not in device.host.instances


@pytest.mark.parametrize("new", [GOOD, Behaviour(score=answers("[NaN]"))], ids=["good", "bad"])
@pytest.mark.parametrize("packages", [0, 1], ids=["model only", "whole image"])
@pytest.mark.parametrize("strategy", ["beside", "replace"])
def test_a_kill_at_every_step_ends_in_the_old_or_the_new_version(
    strategy: Any, packages: int, new: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Update(strategy=strategy, watch_s=0.05, start_s=2.0)
    behaviours = {1: GOOD} | {number: new for number in range(2, 100)}
    # Images of a hundred share their packages, or none do.
    with Device(tmp_path, behaviours, packages=lambda n: n * packages) as device:
        device.settle(1, update=update)
        at, is_over, current = 1, False, 1
        while not is_over:
            number = at + 1
            device.unit.stop()
            is_over = killed_at(at, device, number, update, monkeypatch)
            known = {digest(n) for n in range(1, number + 1)}
            assert {each.digest for each in device.host.list()} <= known
            device.unit = device._unit()  # the next process
            report = device.settle(number, update=update)
            current = number if new is GOOD else current
            assert report.image == f"digits:{current}", (at, report)
            device.wait(without_next(device))
            at += 1
        assert at > 10


def killed_at(
    at: int, device: Device, number: int, update: Update, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Begins the update to digits:<number> and dies at step ``at``. Whether it was over before."""
    with monkeypatch.context() as patched:
        Killer(device, patched, at)
        unit = device._unit(is_started=False)
        module = Module("digits", f"digits:{number}", digest(number), update=update)
        unit.want(module)
        try:
            step_until_done(unit, module)
        except Killed:
            return False
        finally:
            unit.stop()
    return True


@pytest.mark.parametrize("seed", range(6))
def test_after_random_wishes_kills_and_faults_the_newest_good_version_runs(
    seed: int, tmp_path: Path
) -> None:
    draw = random.Random(seed)
    bad = [
        Behaviour(exit_code=1),
        Behaviour(score=answers("[NaN]")),
        Behaviour(score=GOOD.score, exit_code=1, exit_after_s=0.05),
    ]
    behaviours = {
        n: GOOD if n == 1 or draw.random() < 0.6 else draw.choice(bad) for n in range(1, 9)
    }
    update = Update(watch_s=0.3, start_s=1.0)
    with Device(tmp_path, behaviours, packages=lambda n: n // 3) as device:
        device.settle(1, update=update)
        for number in range(2, 9):
            device.want(number, update=update)
            deadline = draw.uniform(0, 0.6)
            device.unit._stopping.wait(deadline)
            if draw.random() < 0.4:
                device.host.fail("the engine is away")
                device.unit._stopping.wait(0.05)
                device.host.fail(None)
            if draw.random() < 0.5:
                device.restart_agent()
        report = device.settle(8, update=update)
        assert report.health == "healthy"
        assert report.image is not None
        number = int(report.image.partition(":")[2])
        assert behaviours[number] is GOOD
        if behaviours[8] is GOOD:
            assert number == 8
