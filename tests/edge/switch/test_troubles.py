"""What the device itself does to an update: a disk that is full for a while, a defect of ours, an
engine that is started anew. None of it may leave a module where it goes no further.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.errors import NoSpaceError, NotFoundError, PullError
from edge.hosts.port import InstanceId
from edge.messages.desired import Restart, Update
from edge.switch.bundles import kept_names
from edge.switch.record import Record, Records
from edge.switch.updater import ModuleUpdater
from tests.edge.switch.device import GOOD, Device, digest

FULL = NoSpaceError("no space is left on the device; free some", is_temporary=True)
BEHAVIOURS = {number: GOOD for number in range(1, 100)}


class Refusing:
    """Calls that are refused while ``is_refusing`` says so, and how many were."""

    def __init__(self, call: Callable[..., Any], error: Exception) -> None:
        self.call, self.error = call, error
        self.left = 0
        self.refused = 0
        self.passed = 0
        self.from_call = 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if self.passed >= self.from_call and self.left > 0:
            self.left -= 1
            self.refused += 1
            raise self.error
        self.passed += 1
        return self.call(*arguments, **options)


@pytest.mark.parametrize("at", range(12))
def test_a_disk_that_is_full_for_a_while_at_any_step_only_delays_an_update(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device(tmp_path, BEHAVIOURS) as device:
        device.settle(1)
        full = Refusing(device.records.put, FULL)
        full.from_call, full.left = at, 2
        monkeypatch.setattr(device.records, "put", full)
        report = device.settle(2)
        assert report.image == "digits:2", report


def test_a_full_disk_is_what_the_report_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device(tmp_path, BEHAVIOURS) as device:
        device.settle(1)
        full = Refusing(device.records.put, FULL)
        full.left = 1_000_000
        monkeypatch.setattr(device.records, "put", full)
        device.want(2)
        report = device.wait(lambda r: r.error is not None)
        assert "no space is left" in str(report.error)
        full.left = 0
        device.wait(lambda r: r.image == "digits:2" and r.phase == "idle" and r.error is None)


@pytest.mark.parametrize("error", [NotFoundError("it is gone"), ZeroDivisionError("a defect")])
def test_what_nobody_expects_is_tried_again_later_and_reported(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device(tmp_path, BEHAVIOURS) as device:
        device.settle(1)
        gone = Refusing(device.stock.golden, error)
        gone.left = 2
        monkeypatch.setattr(device.stock, "golden", gone)
        seen: list[str] = []
        device.want(2)

        def is_done(report: Any) -> bool:
            seen.append(str(report.error))
            return bool(report.image == "digits:2" and report.phase == "idle")

        device.wait(is_done)
        assert gone.refused == 2
        assert any(text != "None" for text in seen), "nothing was said"


def test_a_defect_is_tried_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Device(tmp_path, BEHAVIOURS) as device:
        device.settle(1)
        device.unit.stop()
        defect = Refusing(device.stock.golden, ZeroDivisionError("a defect"))
        defect.left = 1000
        monkeypatch.setattr(device.stock, "golden", defect)
        unit: ModuleUpdater = device._unit(is_started=False)
        device.unit = unit
        device.want(2)
        waits: list[float] = []
        while len(waits) < 6:
            wait_s = unit.step()
            waits += [wait_s] if wait_s > 0 else []
        assert max(waits[3:]) > max(0.06, waits[0] / 2), waits


def test_an_engine_that_is_started_anew_during_a_trial_blames_no_version(tmp_path: Path) -> None:
    """It ends every container, well-behaved ones with 0, and starts none."""
    update = Update(watch_s=1.0, start_s=2.0)
    with Device(tmp_path, BEHAVIOURS) as device:
        device.settle(1, update=update)
        device.want(2, update=update, restart=Restart(policy="on-failure"))
        device.wait(lambda r: r.phase == "watching" and r.health == "healthy")
        device.host.fail("dockerd is down")
        device.wait(lambda r: r.error is not None)
        device.host.end(InstanceId("digits", "live"), 0)
        device.host.fail(None)
        report = device.wait(lambda r: r.phase in ("idle", "failed") and r.health == "healthy")
        assert (report.image, report.phase) == ("digits:2", "idle"), report


def test_a_record_that_cannot_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    records = Records(tmp_path / "state.db")
    records._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(PullError, match="cannot be written") as caught:
        records.put("digits", Record())
    assert caught.value.is_temporary
    records.close()


def test_the_images_of_others_are_asked_for_when_room_is_made_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pull takes hours, in which another module gets a new version."""
    with Device(tmp_path, BEHAVIOURS) as device:
        device.settle(1)
        pinned: set[str] = set()
        object.__setattr__(device.tools, "pinned", lambda: pinned)
        asked: list[set[str]] = []
        real = device.puller.pull

        def pull(image: str, wanted: str, **options: Any) -> Any:
            pinned.add(digest(77))  # meanwhile
            asked.append(set(options["keep"]()))
            return real(image, wanted, **options)

        monkeypatch.setattr(device.puller, "pull", pull)
        device.settle(2)
        assert digest(77) in asked[0]


def test_what_is_left_of_a_module_is_known_and_can_be_removed(tmp_path: Path) -> None:
    with Device(tmp_path, BEHAVIOURS) as device:
        device.settle(1)
        assert device.records.names() == kept_names(tmp_path) == {"digits"}
        device.unit.stop()
        device.unit = device._unit()  # an agent that was never told of it
        device.unit.remove()
        assert device.records.names() == kept_names(tmp_path) == set()
        assert device.host.list() == []
