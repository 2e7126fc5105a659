"""One deployment, tick by tick, on a host without processes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from edge.errors import HostError, PullError
from edge.hosts.port import Instance
from registry import Workspace
from registry.deployments import Health, RevisionSettings, Rollout, ServiceSettings
from registry.errors import WorkspaceBusyError
from runtime.autoscale.change import After, Before
from runtime.balance.balancer import ServiceState
from runtime.deployments.changes import Nobody
from runtime.deployments.secret_files import SecretFiles
from runtime.deployments.unit import ReplicaUnit
from tests.registry.onnx_files import adder
from tests.runtime.deployments.fake_host import FakeHost, fake_host

SERVICE = ServiceSettings(
    least_replicas=2,
    most_replicas=2,
    rollout=Rollout(steps=(100.0,), step_s=0.0, least_requests=0),
)
SETTINGS = RevisionSettings(health=Health(start_s=30.0, interval_s=0.05))


@pytest.fixture
def made(tmp_path: Path) -> Workspace:
    """Images ``adder:1`` and ``adder:2``, and the deployment ``web`` of two replicas."""
    workspace = Workspace.init(tmp_path / "ws", base="none")
    for constant in (1.0, 2.0):
        workspace.models.register(adder(tmp_path / "m.onnx", constant=constant), name="adder")
        workspace.images.create("adder", models=["adder"], proof=False)
    workspace.deployments.create("web", "adder:1", service=SERVICE, settings=SETTINGS, actor="a")
    return workspace


class Ticking:
    """A unit and its clock. ``now_s`` grows by a second with each tick."""

    def __init__(self, unit: ReplicaUnit) -> None:
        self.unit, self.now_s = unit, 1000.0

    def until(
        self, ask: Callable[[], object], timeout_s: float = 60.0, passed_s: float = 1.0
    ) -> None:
        """Ticks, until it is so."""
        deadline = time.monotonic() + timeout_s
        while not ask():
            assert time.monotonic() < deadline, f"{self.unit.shown}; {self.unit}"
            self.tick(passed_s)
            time.sleep(0.01)

    def tick(self, passed_s: float = 1.0) -> None:
        self.now_s += passed_s
        self.unit.tick(self.now_s, ServiceState("web", (), 0, 0))

    def states(self) -> list[str]:
        return sorted(each.state for each in self.unit._replicas.seen())


@contextmanager
def ticking(made: Workspace, host: FakeHost) -> Iterator[Ticking]:
    unit = ReplicaUnit("web", made.deployments, host)
    try:
        yield Ticking(unit)
    finally:
        unit.close(1.0)


def places(unit: ReplicaUnit) -> set[int]:
    """Ports that get requests."""
    assert unit.service is not None
    return {
        replica.port
        for version in unit.service.versions
        for replica in version.replicas
        if not replica.is_draining
    }


def test_ticks_go_on_while_replicas_are_stopped_and_none_of_them_counts(made: Workspace) -> None:
    with fake_host() as host, ticking(made, host) as web:
        web.until(lambda: web.states() == ["ready", "ready"] and web.unit.service)
        old = places(web.unit)
        host.may_stop.clear()
        made.deployments.update("web", image="adder:2", actor="a")
        web.until(lambda: web.states() == ["ready", "ready", "stopping", "stopping"])
        for _ in range(5):  # though the host hangs
            web.tick()
        assert web.states() == ["ready", "ready", "stopping", "stopping"]
        assert not places(web.unit) & old
        found = made.deployments.get("web")
        assert found.observed is not None
        assert sorted(each.state for each in found.observed.replicas) == [
            "draining", "draining", "ready", "ready",
        ]  # fmt: skip
        host.may_stop.set()
        web.until(lambda: web.states() == ["ready", "ready"])
        assert {each.id.module.split(".")[1] for each in host.list()} == {"2"}


def test_a_controller_killed_in_mid_stop_is_followed_by_one_that_stops_it_still(
    made: Workspace,
) -> None:
    with fake_host() as host:
        with ticking(made, host) as web:
            web.until(lambda: web.states() == ["ready", "ready"])
            made.deployments.update("web", image="adder:2", actor="a")
            host.may_stop.clear()
            web.until(lambda: web.states().count("stopping") == 2)
            stopped = set(host.stopping)
        # As kill -9 leaves it: both processes still run, nobody waits for their end.
        started = list(host.started)
        with ticking(made, host) as web:
            web.tick()
            assert web.states().count("draining") == 2
            assert len(places(web.unit)) <= 2
            host.may_stop.set()
            web.until(lambda: web.states() == ["ready", "ready"])
            assert not stopped & {each.id.module for each in host.list()}
            assert host.started == started


def test_the_record_is_read_once_a_tick_and_keys_only_when_something_changed(
    made: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = msgspec.structs.replace(SERVICE, is_keyed=True)
    made.deployments.update("web", service=service, actor="a")
    asked: list[str] = []
    for name in ("get", "keys", "secrets"):
        ask = getattr(made.deployments, name)

        def counted(*args: object, ask: Callable[..., object] = ask, name: str = name) -> object:
            asked.append(name)
            return ask(*args)

        monkeypatch.setattr(made.deployments, name, counted)
    with fake_host() as host, ticking(made, host) as web:
        web.until(lambda: web.states() == ["ready", "ready"] and web.unit.service)
        web.tick()
        asked.clear()
        for _ in range(10):
            web.tick()
        assert asked == ["get"] * 10
        made.deployments.renew_key("web", "primary", actor="a")
        before = web.unit.service
        web.tick()
        assert asked.count("keys") == 1
        assert web.unit.service != before


class Heard(Nobody):
    def __init__(self) -> None:
        self.all: list[tuple[str, int, int]] = []

    def begins(self, change: Before) -> bool:
        self.all.append(("begins", change.from_replicas, change.to_replicas))
        return True

    def ended(self, change: After) -> None:
        self.all.append((change.outcome.value, change.from_replicas, change.to_replicas))


def test_a_listener_hears_of_a_scale_that_was_declared(made: Workspace) -> None:
    heard = Heard()
    with fake_host() as host:
        unit = ReplicaUnit("web", made.deployments, host, listener=heard)
        web = Ticking(unit)
        try:
            web.until(lambda: web.states() == ["ready", "ready"])
            assert heard.all == []
            service = ServiceSettings(least_replicas=3, most_replicas=3, rollout=SERVICE.rollout)
            made.deployments.update("web", service=service, actor="a")
            web.until(lambda: web.states() == ["ready"] * 3)
            web.tick()
            assert heard.all == [("begins", 2, 3), ("done", 2, 3)]
            made.deployments.update("web", service=SERVICE, actor="a")
            web.until(lambda: heard.all[2:] == [("begins", 3, 2), ("done", 3, 2)])
            assert web.states() == ["ready", "ready"]
        finally:
            unit.close(1.0)


@pytest.mark.parametrize("jump_s", [1e6, 0.0, -1e6])
def test_a_jump_of_the_wall_clock_changes_nothing(
    made: Workspace, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """Only monotonic time decides; the wall's is shown to people."""
    with fake_host() as host, ticking(made, host) as web:
        web.until(lambda: web.states() == ["ready", "ready"])
        before, real = list(host.started), time.time
        monkeypatch.setattr(time, "time", lambda: real() + jump_s)
        for _ in range(5):
            web.tick()
        assert web.states() == ["ready", "ready"]
        assert host.started == before
        assert host.stopping == []


def live(made: Workspace) -> list[int]:
    return [share.revision for share in made.deployments.get("web").traffic]


@pytest.mark.parametrize("how", ["update", "rollback"])
def test_what_was_taken_back_is_tried_again_when_it_is_named_again(
    made: Workspace, how: str
) -> None:
    answers = ["it answers nonsense", None]
    with fake_host() as host:
        unit = ReplicaUnit(
            "web", made.deployments, host,
            sample=lambda revision, *_: answers.pop(0) if revision == 2 else None,
        )  # fmt: skip
        web = Ticking(unit)
        try:
            web.until(lambda: live(made) == [1])
            made.deployments.update("web", image="adder:2", actor="a")
            web.until(lambda: "taken back: it answers nonsense" in unit.shown)
            for _ in range(5):  # it is not tried again by itself, whatever else changes
                web.tick()
            made.deployments.renew_key("web", "primary", actor="a")
            web.tick()
            made.deployments.update("web", service=SERVICE, actor="a")
            web.tick()
            assert live(made) == [1]
            assert len(answers) == 1
            if how == "update":
                made.deployments.update("web", image="adder:2", actor="a")
            else:
                made.deployments.rollback("web", "adder:2", actor="a")
            web.until(lambda: live(made) == [2])
            web.until(lambda: unit.shown == "running")
            assert [
                entry.event for entry in made.deployments.ledger("web") if "rollout" in entry.event
            ] == ["rollout finished", "rollout taken back", "rollout finished"]
        finally:
            unit.close(1.0)


def test_the_next_controller_does_not_try_again_what_was_taken_back(made: Workspace) -> None:
    asked: list[int] = []

    def controlled(host: FakeHost, before: Callable[[], object]) -> None:
        unit = ReplicaUnit("web", made.deployments, host, sample=sample)
        web = Ticking(unit)
        web.until(lambda: live(made) == [1])
        before()
        web.until(lambda: "taken back" in unit.shown and web.states() == ["ready", "ready"])
        unit.close(1.0)

    def sample(revision: int, digest: str, address: str, port: int) -> str | None:
        asked.append(revision)
        return "wrong" if revision == 2 else None

    with fake_host() as host:
        controlled(host, lambda: made.deployments.update("web", image="adder:2", actor="a"))
        controlled(host, lambda: None)
        assert asked == [1, 2]


def test_an_image_that_cannot_be_had_is_taken_back_in_time_and_says_why(made: Workspace) -> None:
    bad = made.images.get("adder:2").digest

    class Missing(FakeHost):
        def prepare(self, digest: str, is_cancelled: Callable[[], bool]) -> None:
            if digest == bad:
                raise PullError("the image is not whole any more")

    host = Missing()
    try:
        with ticking(made, host) as web:
            web.until(lambda: live(made) == [1])
            made.deployments.update("web", image="adder:2", actor="a")
            web.tick()
            web.tick()
            assert web.unit.shown.startswith("updating: revision 2 starts; the image is not whole")
            # What it lacks is not the affair of the old one.
            host.kill(host.list()[0].id)
            web.until(lambda: "taken back" in web.unit.shown)
            assert "not ready within 30 s: the image is not whole any more" in web.unit.shown
            web.until(lambda: web.states() == ["ready", "ready"])
            assert live(made) == [1]
    finally:
        host.close()


@pytest.mark.parametrize("what", ["set_traffic", "note", "observe", "attempt"])
def test_a_database_that_is_locked_for_a_while_loses_nothing_of_a_rollout(
    made: Workspace, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Whatever cannot be written is written later, in an order that a reader understands."""
    answers = ["wrong", None]

    def sample(revision: int, digest: str, address: str, port: int) -> str | None:
        return answers.pop(0) if revision == 2 else None

    with fake_host() as host:
        unit = ReplicaUnit("web", made.deployments, host, sample=sample)
        web = Ticking(unit)
        try:
            web.until(lambda: live(made) == [1])
            write, failed = getattr(made.deployments, what), 0

            def locked(*args: object, **options: object) -> object:
                nonlocal failed
                if failed < 3:
                    failed += 1
                    raise WorkspaceBusyError("the database is locked")
                return write(*args, **options)

            monkeypatch.setattr(made.deployments, what, locked)
            back = "running: revision 2 was taken back: wrong"
            for expected, then in ((back, [1]), ("running", [2])):
                made.deployments.update("web", image="adder:2", actor="a")
                deadline = time.monotonic() + 60
                while (unit.shown, live(made), len(web.states())) != (expected, then, 2):
                    assert time.monotonic() < deadline, unit.shown
                    with contextlib.suppress(WorkspaceBusyError):  # as the controller does
                        web.tick()
                    time.sleep(0.01)
            events = [e.event for e in made.deployments.ledger("web") if "rollout" in e.event]
            assert events == ["rollout finished", "rollout taken back", "rollout finished"]
        finally:
            unit.close(1.0)


def test_an_engine_that_goes_away_in_mid_rollout_is_a_cause_and_ends_nothing(
    made: Workspace,
) -> None:
    class Gone(FakeHost):
        def start(self, instance: Instance) -> None:
            if ".2." in instance.id.module and "2" not in self.gone:
                self.gone, self.trouble = "2", "the Docker Engine is away"
            super().start(instance)

        gone = ""

    host = Gone()
    try:
        with ticking(made, host) as web:
            web.until(lambda: live(made) == [1])
            web.until(lambda: web.states() == ["ready", "ready"])
            before = places(web.unit)
            made.deployments.update("web", image="adder:2", actor="a")
            web.until(lambda: "the Docker Engine is away" in web.unit.shown, passed_s=0.01)
            assert web.unit.shown.startswith("updating: revision 2 starts; ")
            web.tick()
            assert places(web.unit) == before  # HAProxy asks them itself
            assert live(made) == [1]
            host.trouble = None
            web.until(lambda: live(made) == [2] and web.unit.shown == "running", passed_s=0.01)
    finally:
        host.close()


def test_a_replica_that_took_too_much_memory_says_so(made: Workspace) -> None:
    with fake_host() as host, ticking(made, host) as web:
        web.until(lambda: live(made) == [1])
        victim = host.list()[0].id
        for _ in range(2):  # the second time it is not started again at once
            web.until(lambda: {each.id for each in host.list() if each.port} >= {victim})
            web.until(lambda: web.states() == ["ready", "ready"])
            host.kill(victim, is_out_of_memory=True)
        web.until(lambda: "it was ended for taking too much memory" in web.unit.shown)
        web.until(lambda: web.unit.shown == "running")
        found = made.deployments.get("web").observed
        assert found is not None
        causes = {each.id: each.cause for each in found.replicas if each.cause}
        assert list(causes) == [victim.module]
        assert "too much memory" in causes[victim.module]


def test_a_deployment_whose_secrets_are_lost_can_still_be_deleted(
    made: Workspace, tmp_path: Path
) -> None:
    settings = RevisionSettings(secrets=("token",), health=SETTINGS.health)
    secrets = {"token": b"x"}
    made.deployments.create(
        "safe", "adder:1", service=SERVICE, settings=settings, secrets=secrets, actor="a"
    )
    files = SecretFiles(tmp_path / "secrets", None)
    with fake_host() as host:
        for is_first in (True, False):
            unit = ReplicaUnit("safe", made.deployments, host, secret_files=files)
            web = Ticking(unit)
            try:
                if is_first:
                    web.until(lambda web=web: web.states() == ["ready", "ready"])  # type: ignore[misc]
                    for key in (made.root / "keys").iterdir():
                        key.unlink()
                else:
                    made.deployments.delete("safe", actor="a")
                    web.until(lambda unit=unit: unit.is_gone)  # type: ignore[misc]
            finally:
                unit.close(1.0)
        assert list(host.list()) == []


def test_an_image_that_somebody_removed_from_the_engine_is_prepared_again(made: Workspace) -> None:
    class Pruned(FakeHost):
        is_there, prepared = False, 0

        def prepare(self, digest: str, is_cancelled: Callable[[], bool]) -> None:
            self.is_there = True
            self.prepared += 1

        def start(self, instance: Instance) -> None:
            if not self.is_there:
                raise HostError("there is no such image")
            super().start(instance)

    host = Pruned()
    try:
        with ticking(made, host) as web:
            web.until(lambda: live(made) == [1])
            for _ in range(40):  # what runs is not prepared again and again
                web.tick()
            assert host.prepared == 1
            host.is_there = False
            host.kill(host.list()[0].id)
            web.until(lambda: host.prepared >= 2 and web.states() == ["ready", "ready"])
    finally:
        host.close()


def test_what_cannot_be_prepared_is_not_tried_each_tick(made: Workspace) -> None:
    class Missing(FakeHost):
        tries = 0

        def prepare(self, digest: str, is_cancelled: Callable[[], bool]) -> None:
            self.tries += 1
            raise PullError("the image is damaged")

    host = Missing()
    with ticking(made, host) as web:
        for _ in range(20):
            web.tick(0.5)
        assert 2 <= host.tries <= 3
        assert "the image is damaged" in web.unit.shown


def test_while_a_large_image_is_made_ready_ticks_go_on_and_its_time_to_start_stands(
    made: Workspace,
) -> None:
    class Large(FakeHost):
        is_loaded, prepared = threading.Event(), 0

        def prepare(self, digest: str, is_cancelled: Callable[[], bool]) -> None:
            self.prepared += 1
            assert self.prepared == 1 or self.is_loaded.wait(60)

    host = Large()
    try:
        with ticking(made, host) as web:
            web.until(lambda: live(made) == [1] and web.states() == ["ready", "ready"])
            made.deployments.update("web", image="adder:2", actor="a")
            for _ in range(100):  # longer than it may take to start
                web.tick()
            assert web.unit.shown == "updating: revision 2 starts; its image is made ready"
            old = places(web.unit)
            host.kill(host.list()[0].id)  # started again at another port, to which requests go
            web.until(lambda: web.states() == ["ready", "ready"] and places(web.unit) != old)
            assert len(places(web.unit)) == 2
            host.is_loaded.set()
            web.until(lambda: live(made) == [2])
    finally:
        host.close()
