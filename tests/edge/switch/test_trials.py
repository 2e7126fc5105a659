"""What came into service is on trial, whatever else is wanted meanwhile; and what is no version's
fault is not held against it."""

from __future__ import annotations

import sqlite3
import threading
from math import inf
from pathlib import Path
from typing import Any

import pytest

from edge.errors import HostError
from edge.hosts.memory import Behaviour
from edge.hosts.port import Instance, InstanceId
from edge.messages.desired import Probe, Update
from edge.messages.reported import ModuleReport
from edge.pull.errors import CancelledError
from tests.edge.switch.device import GOOD, Device, answers, digest

LIVE, NEXT = InstanceId("digits", "live"), InstanceId("digits", "next")
LONG = Update(watch_s=1000.0, start_s=2.0)
BROKEN = Behaviour(score=answers('{"y": [NaN]}'))
pytestmark = pytest.mark.slow


class SlowPull:
    """A link on which digits:<number> never comes."""

    def __init__(self, device: Device, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        pull = device.puller.pull

        def slow(image: str, digest: str, **options: Any) -> Any:
            if image != f"digits:{number}":
                return pull(image, digest, **options)
            self.begun.set()
            while not options["is_cancelled"]():
                threading.Event().wait(0.01)
            raise CancelledError("cancelled")

        monkeypatch.setattr(device.puller, "pull", slow)


def on_trial(device: Device, number: int) -> None:
    device.want(number, update=LONG)
    device.wait(lambda r: r.image == f"digits:{number}" and r.phase == "watching")


def test_a_trial_goes_on_while_the_next_version_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD, 3: GOOD}) as device:
        device.settle(1)
        on_trial(device, 2)
        pull = SlowPull(device, 3, monkeypatch)
        device.want(3, update=LONG)
        assert pull.begun.wait(60)
        device.host.end(LIVE, 1)
        report = device.wait(lambda r: r.image == "digits:1" and r.health == "healthy")
        assert report.wanted == digest(3)  # which is still on its way


def test_what_came_after_a_version_on_trial_goes_back_to_the_one_before_both(
    tmp_path: Path,
) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD, 3: GOOD}) as device:
        device.settle(1)
        on_trial(device, 2)
        on_trial(device, 3)
        assert device.unit.report().previous == "digits:1"
        device.host.end(LIVE, 1)
        report = device.wait(lambda r: r.phase == "failed" and r.health == "healthy")
        assert report.image == "digits:1"


def test_a_version_that_fails_beside_one_on_trial_does_not_end_the_trial(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD, 3: BROKEN}) as device:
        device.settle(1)
        on_trial(device, 2)
        device.want(3, update=LONG)
        report = device.wait(lambda r: r.phase == "failed")
        assert (report.image, report.previous) == ("digits:2", "digits:1")
        device.host.end(LIVE, 1)
        report = device.wait(lambda r: r.image == "digits:1" and r.health == "healthy")


def test_a_trial_begins_again_with_the_agent(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}) as device:
        device.settle(1)
        on_trial(device, 2)
        device.restart_agent()
        device.want(2, update=LONG)
        device.wait(lambda r: r.phase == "watching" and r.health == "healthy")
        device.host.end(LIVE, 1)
        device.wait(lambda r: r.phase == "failed" and r.image == "digits:1")


def test_a_version_that_falls_silent_on_trial_is_taken_back_soon(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}) as device:
        device.settle(1)
        probe = Probe(interval_s=600, timeout_s=5, start_s=600, failures=2)  # of the keeper
        device.want(2, update=LONG, probe=probe)
        device.wait(lambda r: r.phase == "watching" and r.health == "healthy")
        device.host._modules[LIVE].behaviour = Behaviour(ready_after_s=inf)
        report = device.wait(lambda r: r.phase == "failed" and r.health == "healthy")
        assert report.image == "digits:1"
        assert "not well" in str(report.error)


def test_a_version_that_mends_one_that_is_ill_is_not_blamed_for_it(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}, packages=lambda number: 0) as device:
        device.settle(1)
        device.host.behaviours[digest(1)] = Behaviour(exit_code=1)
        device.host.end(LIVE, 1)
        device.wait(lambda r: r.health == "unhealthy" and r.restarts >= 2)  # the next one waits
        assert device.settle(2).image == "digits:2"


def test_a_restart_that_was_asked_for_is_no_failure(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}) as device:
        device.settle(1)
        on_trial(device, 2)
        device.wait(lambda r: r.health == "healthy")
        device.unit.restart()
        device.wait(lambda r: r.restarts == 1 and r.health == "healthy")
        device.unit._stopping.wait(0.3)
        assert device.unit.report().phase == "watching"


def test_what_failed_is_tried_again_after_something_else_was_wanted(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD, 2: BROKEN}) as device:
        device.settle(1)
        assert device.settle(2).phase == "failed"
        report = device.settle(1)
        assert (report.phase, report.error, report.check) == ("idle", None, None)
        device.host.behaviours[digest(2)] = GOOD
        assert device.settle(2).phase == "idle"


def test_a_lock_that_comes_while_a_version_is_tried_holds_the_switch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}) as device:
        device.settle(1)
        start = device.host.start

        def locking(instance: Instance) -> None:
            device.locks.hold("digits", "welding", 1000)
            start(instance)

        monkeypatch.setattr(device.host, "start", locking)
        device.want(2)
        report = device.wait(lambda r: r.waiting_for == "lock: welding")
        assert (report.phase, report.image) == ("waiting", "digits:1")
        assert NEXT not in device.host.instances
        device.locks.release("digits")
        assert device.wait(lambda r: r.image == "digits:2").phase in ("switching", "watching")


def test_an_engine_that_fails_within_the_switch_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}) as device:
        device.settle(1)
        start = device.host.start

        def failing(instance: Instance) -> None:
            if instance.id == LIVE and instance.digest == digest(2) and not failed:
                failed.append(True)
                device.host.fail("the engine is away")
                raise HostError("the engine is away")
            start(instance)

        failed: list[bool] = []
        monkeypatch.setattr(device.host, "start", failing)
        device.want(2)
        device.wait(lambda r: (r.phase, r.waiting_for) == ("switching", "host"))
        device.host.fail(None)
        assert device.settle(2).image == "digits:2"


def test_after_a_boot_a_module_waits_for_its_turn_for_a_while(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD}) as device:
        device.settle(1)
        device.unit.stop()
        device.host.stop(LIVE)  # the machine went down
        device.turn = False
        device.unit = device._unit()
        device.want(1)
        device.wait(lambda r: r.waiting_for == "order")
        assert LIVE not in device.host.instances
        device.wait(lambda r: r.health == "healthy")  # QUICK.order_s is over


def test_a_bundle_that_cannot_be_reloaded_is_taken_back_and_nobody_notices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}, packages=lambda number: 0) as device:
        device.settle(1)
        reload = device.host.reload

        def refusing(id: InstanceId) -> None:
            link = device.unit._service.folders.served("live")
            if link == digest(2):
                device.host._modules[id].say("reload failed, the old generation goes on: no model")
            else:
                reload(id)

        monkeypatch.setattr(device.host, "reload", refusing)
        started = device.host.list()[0].started_at_s
        report = device.settle(2)
        assert (report.phase, report.image) == ("failed", "digits:1")
        assert "no model" in str(report.error)
        assert device.host.list()[0].started_at_s == started


def test_a_server_that_hangs_at_its_reload_and_was_not_tried_before_is_begun_anew_with_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}, packages=lambda number: 0) as device:
        device.settle(1)
        started = device.host.list()[0].started_at_s
        monkeypatch.setattr(device.host, "reload", lambda id: None)
        report = device.settle(2, update=Update(strategy="replace", watch_s=0.2, start_s=0.3))
        assert (report.phase, report.image) == ("failed", "digits:1")
        assert device.host.list()[0].started_at_s != started  # it may have read half of the new


def test_a_server_that_ends_at_its_reload_is_given_up_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}, packages=lambda number: 0) as device:
        device.settle(1)
        monkeypatch.setattr(device.host, "reload", lambda id: device.host.end(id, 1))
        report = device.settle(2, update=Update(watch_s=0.2, start_s=1000.0))
        assert (report.phase, report.image) == ("failed", "digits:1")


def test_a_server_that_does_not_say_that_it_has_reloaded_is_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}, packages=lambda number: 0) as device:
        device.settle(1)
        started = device.host.list()[0].started_at_s
        monkeypatch.setattr(device.host, "reload", lambda id: None)
        report = device.settle(2, update=Update(watch_s=0.2, start_s=0.5))
        assert (report.phase, report.image) == ("idle", "digits:2")
        assert device.host.list()[0].started_at_s != started


def test_a_state_that_cannot_be_written_stops_nothing_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}) as device:
        device.settle(1)
        put = device.records.put
        tries: list[str] = []

        def full(name: str, record: Any) -> None:
            tries.append(record.state)
            if len(tries) < 4:
                raise sqlite3.OperationalError("database or disk is full")
            put(name, record)

        monkeypatch.setattr(device.records, "put", full)
        assert device.settle(2).image == "digits:2"
        assert tries[:4] == ["pulling"] * 4  # nothing was done that was not on disk


def test_older_images_leave_the_host_the_current_and_the_previous_one_stay(
    tmp_path: Path,
) -> None:
    with Device(tmp_path, {n: GOOD for n in range(1, 5)}) as device:
        for number in range(1, 5):
            device.settle(number)

        def is_tidy(report: ModuleReport) -> bool:
            return device.host.prepared == {digest(3), digest(4)}

        device.wait(is_tidy)
        folder = tmp_path / "modules" / "digits" / "live"
        assert len(list(folder.glob("0*"))) == 2


def test_a_way_back_that_the_host_refuses_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}) as device:
        device.settle(1)
        on_trial(device, 2)
        start = device.host.start
        refused: list[bool] = []

        def refusing(instance: Instance) -> None:
            if instance.digest == digest(1) and len(refused) < 2:
                refused.append(True)
                raise HostError("the port is taken")
            start(instance)

        monkeypatch.setattr(device.host, "start", refusing)
        device.host.end(LIVE, 1)
        report = device.wait(lambda r: r.phase == "failed" and r.health == "healthy")
        assert (report.image, len(refused)) == ("digits:1", 2)
