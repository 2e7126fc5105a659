"""One module from version to version: what comes into service, and what does not."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import pytest

from edge.errors import NoSpaceError, PullError, UntrustedError
from edge.hosts.memory import Behaviour
from edge.hosts.port import InstanceId
from edge.messages.desired import Probe, Update, Window
from tests.edge.switch.device import GOOD, Device, answers, digest

LIVE, NEXT = InstanceId("digits", "live"), InstanceId("digits", "next")
pytestmark = pytest.mark.slow


def runs(device: Device) -> str | None:
    """The image of the live instance, and nothing beside it."""
    assert set(device.host.instances) <= {LIVE}
    return device.host.instances[LIVE].digest if LIVE in device.host.instances else None


def test_a_first_version_and_a_second_come_into_service(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}) as device:
        report = device.settle(1)
        assert (report.phase, report.digest, report.previous) == ("idle", digest(1), None)
        report = device.settle(2)
        assert (report.phase, report.image, report.previous) == ("idle", "digits:2", "digits:1")
        assert runs(device) == digest(2)
        assert [kind for kind, _ in device.events] == ["switched", "switched"]


BAD: dict[str, tuple[Behaviour, str]] = {
    "crash": (Behaviour(exit_code=1), "health"),
    "never ready": (Behaviour(ready_after_s=inf), "health"),
    "hangs": (Behaviour(is_hung=True), "health"),
    "not a number": (Behaviour(score=answers('{"y": [NaN]}')), "finite"),
    "another shape": (Behaviour(score=answers('{"y": [1.0, 2.0]}')), "shape"),
    "an error": (Behaviour(score=lambda body: (500, b"no")), "status"),
    "ten times slower": (Behaviour(score=GOOD.score, latency_s=0.1), "latency"),
    "out of memory": (
        Behaviour(score=GOOD.score, exit_code=137, exit_after_s=0.3, is_out_of_memory=True),
        "health",
    ),
    "cannot be started": (Behaviour(start_error="no such executable"), "health"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_version_leaves_the_old_one_in_service(name: str, tmp_path: Path) -> None:
    behaviour, check = BAD[name]
    with Device(tmp_path, {1: GOOD, 2: behaviour}) as device:
        device.settle(1)
        report = device.settle(2, update=Update(watch_s=1.0, start_s=1.5))
        assert (report.phase, report.check, report.digest) == ("failed", check, digest(1))
        assert report.error
        assert runs(device) == digest(1)
        assert device.puller.calls.count("digits:1") == 1
        device.puller.calls.clear()
        device.unit.step()  # it is not tried again
        assert device.puller.calls == []


@pytest.mark.parametrize(
    "name",
    ["crash", "never ready", "hangs", "out of memory", "not a number", "another shape",
     "ten times slower"],
)  # fmt: skip
def test_a_bad_version_that_replaces_the_old_one_is_replaced_by_it_without_a_network(
    name: str, tmp_path: Path
) -> None:
    behaviour, _ = BAD[name]
    with Device(tmp_path, {1: GOOD, 2: behaviour}) as device:
        device.settle(1)
        update = Update(strategy="replace", watch_s=1.0, start_s=1.5)
        device.want(2, update=update)
        device.wait(lambda r: r.phase in ("switching", "watching", "rolling back", "failed"))
        device.puller.error = PullError("there is no network", is_temporary=True)
        calls = len(device.puller.calls)
        report = device.settle(2, update=update)
        assert (report.phase, report.digest, runs(device)) == ("failed", digest(1), digest(1))
        assert len(device.puller.calls) == calls


def test_a_first_version_that_is_bad_is_stopped(tmp_path: Path) -> None:
    with Device(tmp_path, {1: Behaviour(exit_code=1)}) as device:
        device.want(1)
        report = device.wait(lambda r: r.phase == "failed")
        assert (report.digest, report.health, report.check) == (None, "stopped", "health")
        assert runs(device) is None


def test_a_model_only_update_reloads_and_starts_nothing_anew(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}, packages=lambda number: 0) as device:
        device.settle(1)
        started = device.host.list()[0].started_at_s
        report = device.settle(2)
        assert (report.phase, report.digest) == ("idle", digest(2))
        assert device.host.list()[0].started_at_s == started
        assert ("reload", "digits/live") in device.host.calls
        assert runs(device) == digest(1)  # the container is the first one's; its bundle is not
        assert device.unit.digests() == {digest(1), digest(2)}


def test_a_model_only_update_that_is_bad_under_way_is_taken_back_by_a_reload(
    tmp_path: Path,
) -> None:
    later = Behaviour(score=GOOD.score, ready_after_s=0.0)
    with Device(tmp_path, {1: GOOD, 2: later}, packages=lambda number: 0) as device:
        device.settle(1)
        device.want(2, update=Update(watch_s=5.0, start_s=2.0))
        device.wait(lambda r: r.phase == "watching")
        device.host.end(LIVE, 1)
        report = device.wait(lambda r: r.phase == "failed" and r.health == "healthy")
        assert (report.digest, report.image) == (digest(1), "digits:1")


def test_golden_answers_are_compared_within_their_tolerance(tmp_path: Path) -> None:
    golden = {"v": 1, "cases": [{"input": [1], "output": {"y": [1.0]}}]}
    wrong = Behaviour(score=answers('{"y": [1.5]}'))
    with Device(tmp_path, {1: GOOD, 2: wrong}, golden={1: golden, 2: golden}) as device:
        assert device.settle(1).phase == "idle"
        report = device.settle(2)
        assert (report.phase, report.check) == ("failed", "tolerance")


def test_the_newest_wish_supersedes_one_that_waits(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD, 3: GOOD}) as device:
        device.settle(1)
        device.locks.hold("digits", "welding", 1000)
        device.want(2)
        report = device.wait(lambda r: r.waiting_for == "lock: welding")
        assert (report.phase, report.digest) == ("waiting", digest(1))
        device.want(3)
        device.wait(lambda r: r.wanted == digest(3) and r.waiting_for == "lock: welding")
        device.locks.release("digits")
        assert device.settle(3).image == "digits:3"
        assert "digits:2" not in [body["image"] for _, body in device.events]


def test_a_wish_for_what_runs_ends_an_update(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD, 2: Behaviour(ready_after_s=inf)}) as device:
        device.settle(1)
        device.want(2, update=Update(start_s=100))
        device.wait(lambda r: r.phase == "starting")
        assert device.settle(1).phase == "idle"
        device.wait(lambda r: NEXT not in device.host.instances)


def test_a_switch_waits_for_its_window_and_for_the_application(tmp_path: Path) -> None:
    now = [43_200.0]
    update = Update(watch_s=0.2, start_s=2.0, windows=(Window(60, 120),), when_ready=True)
    with Device(tmp_path, {1: GOOD, 2: GOOD}, now_s=lambda: now[0]) as device:
        device.settle(1, update=update)  # the first start waits for nobody
        device.want(2, update=update)
        device.wait(lambda r: r.waiting_for == "window")
        now[0] = 3600.0
        device.wait(lambda r: r.waiting_for == "ready")
        device.locks.set_ready("digits")
        assert device.settle(2, update=update).image == "digits:2"


def test_a_first_start_waits_for_its_turn(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD}) as device:
        device.turn = False
        device.want(1)
        device.wait(lambda r: r.waiting_for == "order")
        assert runs(device) is None
        device.turn = True
        assert device.settle(1).phase == "idle"


@pytest.mark.parametrize(
    ("error", "waiting_for"),
    [
        (PullError("no route", is_temporary=True), "network"),
        (PullError("404"), "registry"),
        (NoSpaceError("too little room"), "space"),
    ],
)
def test_what_cannot_be_fetched_is_tried_again(
    error: PullError, waiting_for: str, tmp_path: Path
) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}) as device:
        device.settle(1)
        device.puller.error = error
        device.want(2)
        report = device.wait(lambda r: r.waiting_for == waiting_for)
        assert (report.digest, report.health, report.error) == (digest(1), "healthy", str(error))
        device.puller.error = None
        device.unit._wake.set()
        assert device.settle(2).image == "digits:2"


def test_an_image_that_nobody_signed_is_given_up(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD, 2: GOOD}) as device:
        device.settle(1)
        device.puller.error = UntrustedError("it is not signed")
        assert device.settle(2).phase == "failed"
        assert runs(device) == digest(1)


def test_how_it_is_looked_after_changes_without_a_restart(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD}) as device:
        device.settle(1)
        starts = device.host.calls.count(("start", "digits/live"))
        device.settle(1, probe=Probe(interval_s=1.0))
        assert device.host.calls.count(("start", "digits/live")) == starts


def test_other_settings_are_a_new_instance_of_the_same_image(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD}) as device:
        device.settle(1)
        device.settle(1, env={"A": "1"})
        device.wait(lambda r: device.host.instances[LIVE].env == {"A": "1"})


def test_what_failed_is_tried_again_when_somebody_says_so(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD, 2: Behaviour(exit_code=1)}) as device:
        device.settle(1)
        device.settle(2)
        device.host.behaviours[digest(2)] = GOOD
        device.unit.forget_failure()
        assert device.wait(lambda r: r.image == "digits:2" and r.phase == "idle")


def test_a_removed_module_leaves_nothing(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD}) as device:
        device.settle(1)
        device.unit.remove()
        assert device.host.list() == []
        assert list((tmp_path / "modules").iterdir()) == []
        assert device.records.load("digits").live is None


def test_an_agent_that_starts_again_adopts_what_runs(tmp_path: Path) -> None:
    with Device(tmp_path, {1: GOOD}) as device:
        device.settle(1)
        calls: list[Any] = [c for c in device.host.calls if c[0] != "start"]
        started = device.host.list()[0].started_at_s
        device.restart_agent()
        device.settle(1)
        assert device.host.list()[0].started_at_s == started
        assert [c for c in device.host.calls if c[0] == "stop"] == [
            c for c in calls if c[0] == "stop"
        ]
