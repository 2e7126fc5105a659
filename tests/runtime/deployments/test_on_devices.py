"""Deployments on devices: what is declared goes to the hub, and what devices say comes back."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge.layering import Layer
from registry import Workspace
from registry.clock import utc_now
from registry.deployments import (
    Deployment,
    Health,
    Observed,
    RevisionSettings,
    Rollout,
    ServiceSettings,
)
from registry.errors import InvalidNameError
from runtime.deployments.devices import DeviceUnit
from runtime.deployments.hub import why_silent
from tests.runtime.conftest import Cli
from tests.runtime.deployments.field import Field, living

ROLLOUT = Rollout(steps=(50.0, 100.0), step_s=2.0)
SERVICE = ServiceSettings(rollout=ROLLOUT)
LINE_3 = {"line": "3"}


class Place:
    """A workspace with a target of devices, and a controller's unit that ticks with the field."""

    def __init__(self, made: Workspace, *names: str) -> None:
        self.made = made
        self.field = Field(made.root, {name: LINE_3 for name in names})
        made.targets.attach("line-3", "edge", {"condition": 'line == "3"'})
        self.ticks = 0

    def declare(self, settings: RevisionSettings | None = None) -> None:
        self.made.deployments.create(
            "press", "adder:1", target="line-3", service=SERVICE, settings=settings, actor="ada"
        )
        self.begin()

    def begin(self) -> None:
        """As a new controller does."""
        target = self.made.targets.get("line-3")
        self.unit = DeviceUnit(
            "press", self.made.deployments, target, self.made.root, clock=utc_now,
            wall=lambda: self.field.now_s,
        )  # fmt: skip

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.ticks += 100  # what a look costs is no matter here
            self.unit.tick(self.ticks, None)
            self.field.step()

    def until(self, state: str, said: str = "") -> Deployment:
        for _ in range(60):
            self.step()
            found = self.now
            assert found.observed is not None
            if found.observed.state == state and said in (found.observed.cause or ""):
                return found
        raise AssertionError(f"{self.unit.shown}, and not {state}: {said}")

    @property
    def now(self) -> Deployment:
        return self.made.deployments.get("press")

    def rows(self) -> dict[str, tuple[int, str, str]]:
        observed = self.now.observed
        assert observed is not None
        return {each.id: (each.revision, each.state, each.cause) for each in observed.replicas}

    def digests(self) -> list[str | None]:
        return [self.field.running(name, "press") for name in ("press-1", "press-2", "press-3")]


@pytest.fixture
def place(made: Workspace) -> Place:
    return Place(made, "press-1", "press-2", "press-3")


def digest(place: Place, number: int) -> str:
    return place.now.revision(number).digest


def test_all_devices_of_the_condition_come_to_run_it_and_are_shown(place: Place) -> None:
    place.field.enrol("other", line="4")
    place.declare()
    found = place.until("running", "on 3 of 3 devices")
    assert place.rows() == {f"press-{n}": (1, "ready", "") for n in (1, 2, 3)}
    assert [(s.revision, s.percent) for s in found.traffic] == [(1, 100)]
    assert place.field.running("other", "press") is None
    assert found.observed is not None
    assert found.observed.url is None
    assert found.observed.replicas[0].address == "press-1:40001"


def test_an_update_goes_step_by_step_and_says_how_far_it_is(place: Place) -> None:
    place.declare()
    place.until("running")
    place.made.deployments.update("press", image="adder:2", actor="ada")
    place.until("updating", "of 3 devices are through, batch 1 of 2")
    place.until("running", "on 3 of 3 devices")
    assert place.digests() == [digest(place, 2)] * 3
    live = [
        e.detail["traffic"] for e in place.made.deployments.ledger("press") if e.event == "live"
    ]
    assert [[(s["revision"], s["percent"]) for s in each] for each in live] == [
        [(1, 100)], [(1, 33.3), (2, 66.7)], [(2, 100)],
    ]  # fmt: skip


def test_a_version_that_fails_on_a_device_is_taken_back_and_says_where_and_why(
    place: Place,
) -> None:
    place.declare()
    place.until("running")
    place.made.deployments.update("press", image="adder:2", actor="ada")
    place.field.broken[digest(place, 2)] = "golden input 1: 3 and not 2"
    found = place.until("running", "revision 2 was taken back")
    assert found.observed is not None
    assert "golden input 1: 3 and not 2" in (found.observed.cause or "")
    assert "press-" in (found.observed.cause or "")
    assert [(s.revision, s.percent) for s in found.traffic] == [(1, 100)]
    assert place.digests() == [digest(place, 1)] * 3
    place.step(8)
    assert len(place.field.rollouts.all()) == 2  # it is not begun again
    place.field.broken.clear()
    place.made.deployments.update("press", image="adder:2", actor="ada")  # it is named again
    place.until("running", "on 3 of 3")
    assert place.digests() == [digest(place, 2)] * 3


def test_what_was_taken_back_may_be_wanted_again_after_another_one(place: Place) -> None:
    place.declare()
    place.until("running")
    place.made.deployments.update("press", image="adder:2", actor="ada")
    place.field.broken[digest(place, 2)] = "no"
    place.until("running", "revision 2 was taken back")
    place.field.broken.clear()
    place.made.deployments.rollback("press", 1, actor="ada")
    place.until("running", "on 3 of 3")
    place.made.deployments.rollback("press", 2, actor="ada")
    place.until("running", "on 3 of 3")
    assert place.digests() == [digest(place, 2)] * 3


def test_the_first_version_that_fails_leaves_nothing(place: Place) -> None:
    place.declare()
    place.field.broken[digest(place, 1)] = "no room"
    found = place.until("failed", "revision 1 was taken back")
    assert "no room" in str(found.observed)
    assert place.digests() == [None] * 3
    place.made.deployments.update("press", image="adder:2", actor="ada")
    place.until("running", "on 3 of 3")


def test_going_back_in_mid_rollout_takes_it_back_at_once(place: Place) -> None:
    place.declare()
    place.until("running")
    place.made.deployments.update("press", image="adder:2", actor="ada")
    place.until("updating", "batch 1 of 2")
    place.made.deployments.rollback("press", None, actor="ada")
    place.until("running", "on 3 of 3")
    assert place.digests() == [digest(place, 1)] * 3
    assert [each.state for each in place.field.rollouts.all()] == ["completed", "rolled back"]


def test_a_rollout_that_was_replaced_half_way_leaves_no_device_behind(place: Place) -> None:
    place.declare()
    place.until("running")
    place.made.deployments.update("press", image="adder:2", actor="ada")
    place.until("updating", "batch 1 of 2")
    changed = RevisionSettings({"A": "1"})
    place.made.deployments.update("press", settings=changed, actor="ada")
    place.until("updating", "revision 3")
    place.made.deployments.rollback("press", 1, actor="ada")
    place.until("running", "on 3 of 3")
    assert place.digests() == [digest(place, 1)] * 3


def test_another_controller_goes_on_where_one_was(place: Place) -> None:
    place.declare()
    for _ in range(8):
        place.step()
        place.begin()
    place.until("running", "on 3 of 3")
    place.made.deployments.update("press", image="adder:2", actor="ada")
    for _ in range(12):
        place.step()
        place.begin()
    place.until("running", "on 3 of 3")
    assert [each.state for each in place.field.rollouts.all()] == ["completed", "completed"]


def test_a_controller_that_is_killed_between_two_writes_begins_no_rollout_twice(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.declare()
    kept, left = place.made.deployments.observe, [0]

    def dying(name: str, observed: Observed) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        kept(name, observed)

    for after in range(4):
        left[0] = after
        with monkeypatch.context() as patched:
            patched.setattr(place.made.deployments, "observe", dying)
            for _ in range(3):
                try:
                    place.step()
                except KeyboardInterrupt:
                    place.begin()
                    break
    place.until("running", "on 3 of 3")
    assert len(place.field.rollouts.all()) == 1


def test_devices_that_are_offline_get_it_later_and_are_said(place: Place) -> None:
    place.declare()
    place.until("running")
    place.field.offline.add("press-2")
    found = place.until("degraded", "on 2 of 3 devices; press-2: it is offline since")
    place.made.deployments.update("press", image="adder:2", actor="ada")
    place.until("updating", "2 of 3 devices are through, batch 2 of 2; press-2: it is offline")
    assert place.digests() == [digest(place, 2), digest(place, 1), digest(place, 2)]
    place.field.offline.clear()
    place.until("running", "on 3 of 3 devices")
    assert place.digests() == [digest(place, 2)] * 3
    assert found.observed is not None


def test_devices_that_come_later_get_it_too(place: Place) -> None:
    place.declare()
    place.until("running")
    place.field.enrol("press-9", **LINE_3)
    place.until("running", "on 4 of 4 devices")


def test_no_device_is_said(made: Workspace) -> None:
    place = Place(made)
    place.declare()
    place.until("starting", "no device of the hub meets the target's condition")
    place.field.enrol("press-1", **LINE_3)
    place.until("running", "on 1 of 1 devices")


def test_a_hub_that_does_not_run_is_said_in_each_state(place: Place) -> None:
    place.field.is_hub_away = True
    place.declare()
    place.until("starting", "no hub has run yet: inferry edge hub")
    place.field.is_hub_away = False
    place.until("running", "on 3 of 3 devices")
    place.field.is_hub_away = True
    place.until("degraded", "no hub has run for")
    place.field.is_hub_away = False
    place.until("running", "on 3 of 3 devices")


def test_what_is_deleted_leaves_the_devices(place: Place) -> None:
    place.declare()
    place.until("running")
    place.field.offline.add("press-3")
    place.step(2)
    place.made.deployments.delete("press", actor="ada")
    place.step()
    assert "stopping: it still runs on press-1, press-2" in place.unit.shown
    place.step()
    assert place.unit.is_gone
    assert place.made.deployments.list() == []
    place.field.offline.clear()
    place.field.step()
    assert place.digests() == [None] * 3
    assert place.field.deployments.all() == []


def test_another_deployment_of_the_hub_that_decides_is_said(place: Place) -> None:
    place.declare()
    place.until("running")
    place.field.deployments.put(Layer("by-hand", device="press-2", removed=("press",)), by="bob")
    place.until("degraded", "press-2: another deployment of the hub decides")
    place.field.deployments.delete("by-hand", by="bob")
    place.until("running")


def test_what_was_changed_in_the_hub_by_hand_is_made_as_declared_again(place: Place) -> None:
    place.declare()
    place.until("running")
    layer = place.field.deployments.show("deployment.press").layer
    place.field.deployments.put(layer.with_module("press", None), by="bob")
    place.until("starting")
    place.until("running", "on 3 of 3")
    place.field.deployments.put(msgspec.structs.replace(layer, condition="all"), by="bob")
    place.step(3)
    assert place.field.deployments.show("deployment.press").layer.condition == 'line == "3"'


def test_settings_of_a_revision_reach_the_devices(place: Place) -> None:
    settings = RevisionSettings({"A": "1"}, health=Health(30.0, 2.0, 5), workers=2)
    place.declare(settings)
    place.until("running")
    (module,) = place.field.deployments.show("deployment.press").layer.modules
    assert (module.env, module.args) == ({"A": "1"}, ("--workers", "2"))
    assert (module.probe.interval_s, module.probe.failures, module.update.start_s) == (2, 5, 30)


REFUSED = [
    ServiceSettings(port=8080),
    ServiceSettings(host="0.0.0.0"),
    ServiceSettings(is_keyed=True),
    ServiceSettings(tls_certificate="/x.pem"),
    ServiceSettings(sticky_header="X-Who"),
    ServiceSettings(least_replicas=2, most_replicas=2),
    ServiceSettings(least_replicas=1, most_replicas=3),
]


def test_what_makes_no_sense_for_devices_is_refused(place: Place) -> None:
    for service in REFUSED:
        with pytest.raises(InvalidNameError, match="devices"):
            place.made.deployments.create(
                "press", "adder:1", target="line-3", service=service, actor="ada"
            )
    with pytest.raises(InvalidNameError, match="secret"):
        place.made.deployments.create(
            "press", "adder:1", target="line-3", settings=RevisionSettings(secrets=("k",)),
            secrets={"k": b"x"}, actor="ada",
        )  # fmt: skip
    place.declare()
    with pytest.raises(InvalidNameError, match="devices"):
        place.made.deployments.update("press", service=REFUSED[0], actor="ada")
    with pytest.raises(InvalidNameError, match="shadow"):
        place.made.deployments.update("press", image="adder:2", shadow=10.0, actor="ada")


def test_a_hub_is_silent_once_its_beat_is_old(tmp_path: Path, made: Workspace) -> None:
    field = Field(made.root, {})
    assert why_silent(made.root, field.now_s) == "no hub has run yet: inferry edge hub"
    field.step()
    assert why_silent(made.root, field.now_s + 10) is None
    assert why_silent(made.root, field.now_s - 1000) is None  # a clock that was put back
    assert "for 2 hours" in str(why_silent(made.root, field.now_s + 7201))


def test_devices_are_listed_and_asked_for_their_logs(
    cli: Cli, images: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(images, "press-1", "press-2")
    place.declare()
    place.until("running")
    listed = cli("deployment", "list").stdout
    assert "2/2" in listed
    shown = cli("deployment", "show", "press").stdout
    assert "each device wanted" in shown
    assert "press-1  ready  press-1:40001" in shown
    with living(place.field):
        done = cli("deployment", "logs", "press")
        assert done.code == 0, done.stderr
        assert "press-1 | press: hello from press-1" in done.stdout
        done = cli("deployment", "logs", "press", "--replica", "press-2")
        assert done.stdout == "press: hello from press-2\n"
    done = cli("deployment", "logs", "press", "-f")
    assert (done.code, "ask again" in done.stderr) == (1, True)
    monkeypatch.setattr("runtime.deployments.logs.DEVICE_S", 0.1)
    monkeypatch.setattr("runtime.deployments.hub.GRACE_S", 0.1)
    done = cli("deployment", "logs", "press", "--replica", "press-2")
    assert (done.code, "inferry edge logs press-2 press" in done.stderr) == (1, True)
    done = cli("deployment", "traffic", "press", "1=100")
    assert (done.code, "no traffic to split" in done.stderr) == (1, True)
    for words in (
        ["deployment", "scale", "press", "3"],
        ["deployment", "update", "press", "--keys"],
    ):
        done = cli(*words)
        assert (done.code, "a deployment on devices has no" in done.stderr) == (1, True)
