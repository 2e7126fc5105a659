"""The keeper, with a clock that is moved by hand and modules in memory."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import HostError
from edge.hosts.memory import Behaviour, MemoryHost
from edge.hosts.port import Instance, InstanceId
from edge.hosts.processes import ProcessHost
from edge.keeping.keeper import LiveKeeper
from edge.messages.desired import Probe, Restart
from edge.stock.port import StoredImage
from tests.edge.hosts.conformance import ask, wait_for
from tests.edge.hosts.images import FakeStock
from tests.edge.hosts.test_processes import HERE

ID = InstanceId("digits", "live")
ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
PROBE = Probe(interval_s=10, failures=3, start_s=60)


@dataclass
class Scene:
    """A keeper whose thread does not run: its steps are taken by hand."""

    now: float = 0.0
    error: str | None = None
    """What the probe finds."""
    probes: list[tuple[str, int, str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.host = MemoryHost(clock=lambda: self.now)
        self.host.prepared |= {ONE, TWO}
        self.keeper = self.reopened()

    def reopened(self) -> LiveKeeper:
        """Another agent's."""
        return LiveKeeper("digits", self.host, clock=lambda: self.now, probe=self.probe)

    def probe(self, address: str, port: int, path: str, timeout_s: float) -> str | None:
        self.probes.append((address, port, path, timeout_s))
        return self.error

    def keep(
        self, restart: Restart | None = None, *, digest: str = ONE, **behaviour: object
    ) -> None:
        """Set, and settle."""
        if behaviour:
            self.host.behaviours[digest] = Behaviour(**behaviour)  # type: ignore[arg-type]
        self.keeper.set(Instance(ID, digest), restart or Restart(), PROBE)
        self.settle()

    def settle(self) -> float:
        """Steps until there is nothing to do now; how long there is not."""
        for _ in range(20):
            wait_s = self.keeper.step()
            if wait_s > 0:
                return wait_s
        raise AssertionError("it does not come to rest")

    def run(self, seconds: float) -> None:
        """As the thread would."""
        end = self.now + seconds
        while True:
            wait_s = self.settle()
            if self.now + wait_s > end:
                self.now = end
                self.settle()
                return
            self.now += wait_s

    @property
    def starts(self) -> int:
        return self.host.calls.count(("start", str(ID)))


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.host.close()


def test_it_starts_what_is_set_and_sees_it_healthy(scene: Scene) -> None:
    assert scene.keeper.view().health == "stopped"
    scene.keep()
    view = scene.keeper.view()
    assert (view.digest, view.health, view.restarts, view.error) == (ONE, "healthy", 0, None)
    assert view.port is not None
    assert scene.probes == [("127.0.0.1", view.port, "/readyz", 5.0)]
    scene.run(30)
    assert scene.keeper.view().healthy_s == 30
    assert len(scene.probes) == 4


def test_until_something_is_set_it_touches_nothing(scene: Scene) -> None:
    scene.host.start(Instance(ID, ONE))
    scene.run(100)
    assert [each.state for each in scene.host.list()] == ["running"]


def test_nothing_set_stops_what_runs(scene: Scene) -> None:
    scene.keep()
    scene.keeper.set(None, Restart(), PROBE)
    scene.settle()
    assert scene.host.list() == []
    assert (scene.keeper.view().health, scene.keeper.view().digest) == ("stopped", None)


def test_a_restarted_agent_adopts_what_runs(scene: Scene) -> None:
    scene.keep()
    first = scene.host.list()
    scene.keeper = scene.reopened()
    scene.keep()
    assert scene.host.list() == first
    assert (scene.keeper.view().health, scene.keeper.view().restarts) == ("healthy", 0)


def test_a_restarted_agent_learns_of_an_end_meanwhile(scene: Scene) -> None:
    scene.keep()
    scene.host.end(ID, 9)
    scene.keeper = scene.reopened()
    scene.keep(Restart(policy="never"))
    view = scene.keeper.view()
    assert (view.health, view.exit_code, view.restarts) == ("stopped", 9, 0)
    assert view.error == "it ended with exit code 9"
    scene.keeper = scene.reopened()
    scene.keep(Restart(policy="on-failure"))
    assert (scene.keeper.view().health, scene.keeper.view().restarts) == ("healthy", 1)


def test_changed_settings_replace_it_and_count_anew(scene: Scene) -> None:
    scene.keep()
    scene.host.end(ID, 1)
    scene.settle()
    assert scene.keeper.view().restarts == 1
    scene.keeper.set(Instance(ID, ONE, env={"A": "1"}), Restart(), PROBE)
    assert (scene.keeper.view().health, scene.keeper.view().restarts) == ("starting", 0)
    scene.settle()
    assert scene.host.instances[ID].env == {"A": "1"}
    scene.keeper.set(Instance(ID, ONE, env={"A": "1"}), Restart(policy="never"), PROBE)
    scene.host.end(ID, 0)
    scene.settle()
    assert scene.keeper.view().health == "stopped"
    scene.keeper.set(Instance(ID, ONE, env={"A": "2"}), Restart(policy="never"), PROBE)
    scene.settle()
    assert scene.keeper.view().health == "healthy"


def test_a_crash_is_followed_by_a_start_at_once_and_later_ones_wait(scene: Scene) -> None:
    scene.keep(Restart(backoff_s=1, max_backoff_s=8), exit_code=3)
    assert (scene.starts, scene.keeper.view().health) == (2, "unhealthy")
    found = []
    for _ in range(60):
        before = scene.starts
        scene.run(0.5)
        if scene.starts > before:
            found.append(scene.now)
    assert found == [1, 3, 7, 15, 23]
    view = scene.keeper.view()
    assert (view.restarts, view.exit_code) == (6, 3)
    assert view.error == "it ended with exit code 3"


def test_health_for_long_enough_makes_the_next_start_quick_again(scene: Scene) -> None:
    scene.keep(Restart(backoff_s=100, reset_after_s=30))
    for starts in (2, 3):
        scene.run(31)
        scene.host.end(ID, 1)
        scene.settle()
        assert scene.starts == starts
    scene.host.end(ID, 1)
    scene.run(50)
    assert scene.starts == 3


@pytest.mark.parametrize(
    ("policy", "code", "health"),
    [
        ("never", 1, "stopped"),
        ("never", 0, "stopped"),
        ("on-failure", 0, "stopped"),
        ("on-failure", 1, "healthy"),
        ("on-unhealthy", 0, "stopped"),
        ("always", 0, "healthy"),
    ],
)
def test_the_policy_decides_after_an_end(scene: Scene, policy: str, code: int, health: str) -> None:
    scene.keep(Restart(policy=policy))  # type: ignore[arg-type]
    scene.host.end(ID, code)
    scene.run(400)
    assert scene.keeper.view().health == health
    assert scene.keeper.view().exit_code == code


def test_out_of_memory_is_named(scene: Scene) -> None:
    scene.keep()
    scene.host.end(ID, 137, is_out_of_memory=True)
    scene.settle()
    view = scene.keeper.view()
    assert (view.exit_code, view.is_out_of_memory, view.health) == (137, True, "healthy")


def test_one_that_is_not_well_is_restarted_if_the_policy_says_so(scene: Scene) -> None:
    for policy, restarts in (("always", 1), ("on-unhealthy", 1), ("on-failure", 0), ("never", 0)):
        scene.error = None
        scene.keep(Restart(policy=policy))  # type: ignore[arg-type]
        scene.run(61)
        scene.error = "GET /readyz answers 503"
        scene.run(25)
        assert scene.keeper.view().health == "healthy"
        assert scene.keeper.view().error == "GET /readyz answers 503"
        scene.run(6)
        assert scene.keeper.view().restarts == restarts
        assert scene.keeper.view().health == ("starting" if restarts else "unhealthy")
        scene.keeper.set(None, Restart(), PROBE)
        scene.settle()


def test_one_that_never_gets_ready_is_restarted_after_its_time(scene: Scene) -> None:
    scene.error = "GET /readyz answers 503"
    scene.keep()
    scene.run(59)
    assert (scene.keeper.view().health, scene.starts) == ("starting", 1)
    scene.run(20)
    assert (scene.starts, scene.keeper.view().restarts) == (2, 1)


def test_one_that_heals_while_its_restart_waits_is_left_alone(scene: Scene) -> None:
    scene.keep(Restart(backoff_s=100))
    scene.host.end(ID, 1)
    scene.run(61)
    scene.error = "no"
    scene.run(50)
    assert scene.keeper.view().health == "unhealthy"
    scene.error = None
    scene.run(200)
    assert (scene.keeper.view().health, scene.keeper.view().restarts) == ("healthy", 1)


def test_one_that_was_removed_by_hand_is_started_again(scene: Scene) -> None:
    scene.keep(Restart(policy="never"))
    scene.host.stop(ID)
    scene.settle()
    assert (scene.keeper.view().health, scene.keeper.view().restarts) == ("healthy", 1)


def test_a_host_that_is_down_is_shown_and_the_module_still_probed(scene: Scene) -> None:
    scene.keep()
    scene.host.fail("dockerd is down")
    scene.run(30)
    view = scene.keeper.view()
    assert (view.health, view.error) == ("healthy", "dockerd is down")
    assert len(scene.probes) >= 3
    scene.run(60)
    scene.error = "no answer"
    scene.run(40)
    assert scene.keeper.view().health == "unhealthy"
    scene.host.fail(None)
    scene.error = None
    scene.run(6)
    view = scene.keeper.view()
    assert (view.health, view.error) == ("healthy", None)


def test_one_that_cannot_be_started_is_tried_again_ever_more_seldom(scene: Scene) -> None:
    scene.keep(start_error="port 80 is taken")
    assert scene.keeper.view().error == "port 80 is taken"
    assert scene.keeper.view().health == "unhealthy"
    scene.run(120)
    assert 5 <= scene.starts <= 9
    scene.host.behaviours[ONE] = Behaviour()
    scene.run(130)
    assert (scene.keeper.view().health, scene.keeper.view().restarts) == ("healthy", 0)


def test_a_restart_by_command_is_done_and_counted(scene: Scene) -> None:
    scene.keep(Restart(policy="never"))
    scene.keeper.restart()
    scene.settle()
    assert (scene.keeper.view().health, scene.keeper.view().restarts) == ("healthy", 1)
    assert scene.host.calls[-2:] == [("stop", str(ID)), ("start", str(ID))]


def test_within_hands_off_it_does_nothing(scene: Scene) -> None:
    scene.keep()
    stepped = threading.Thread(target=scene.keeper.step)
    with scene.keeper.hands_off():
        stepped.start()
        scene.host.stop(ID)
        stepped.join(0.05)
        assert stepped.is_alive()
        assert scene.host.list() == []
        scene.host.start(Instance(ID, TWO))
        scene.keeper.set(Instance(ID, TWO), Restart(), PROBE)
    stepped.join(60)
    scene.settle()
    assert [each.digest for each in scene.host.list()] == [TWO]
    assert (scene.keeper.view().digest, scene.keeper.view().restarts) == (TWO, 0)


EVENTS = st.one_of(
    st.tuples(st.just("run"), st.floats(0, 100)),
    st.tuples(st.just("end"), st.sampled_from([0, 1, 137])),
    st.tuples(st.just("host"), st.sampled_from([None, "dockerd is down"])),
    st.tuples(st.just("probe"), st.sampled_from([None, "no answer"])),
    st.tuples(st.just("remove"), st.none()),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("reopen"), st.none()),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, max_size=12))
def test_whatever_happens_it_is_healthy_again_when_the_trouble_is_over(
    events: list[tuple[str, Any]],
) -> None:
    scene = Scene()
    restart = Restart(max_backoff_s=50)
    try:
        scene.keep(restart)
        for what, value in events:
            if what == "run":
                scene.run(value)
            elif what == "end" and ID in scene.host.instances:
                scene.host.end(ID, value)
            elif what == "host":
                scene.host.fail(value)
            elif what == "probe":
                scene.error = value
            elif what == "remove":
                with contextlib.suppress(HostError):
                    scene.host.stop(ID)
            elif what == "restart":
                scene.keeper.restart()
            elif what == "reopen":
                scene.keeper = scene.reopened()
                scene.keep(restart)
        scene.host.fail(None)
        scene.error = None
        scene.run(70)
        view = scene.keeper.view()
        assert (view.health, view.error) == ("healthy", None)
        assert [each.state for each in scene.host.list()] == ["running"]
    finally:
        scene.host.close()


def test_its_thread_keeps_going_and_ends(scene: Scene) -> None:
    keeper = LiveKeeper("digits", scene.host, look_s=0.01)
    keeper.open()
    try:
        keeper.set(Instance(ID, ONE), Restart(), PROBE)
        wait_for(lambda: keeper.view().health == "healthy")
        scene.host.end(ID, 1)
        wait_for(lambda: keeper.view().restarts == 1 and keeper.view().health == "healthy")
    finally:
        keeper.close()
        keeper.close()
    assert [each.state for each in scene.host.list()] == ["running"]


def test_a_crash_is_mended_within_a_second_while_a_pull_hangs(tmp_path: Path) -> None:
    stock = HangingStock(tmp_path / "stock", HERE)
    host = ProcessHost(tmp_path / "processes", stock)
    digest = stock.add({"answer": "one"})
    host.prepare(digest, lambda: False)
    keeper = LiveKeeper("digits", host)
    keeper.open()
    stock.hung = stock.add({"answer": "two"})
    pulling = threading.Thread(target=host.prepare, args=(stock.hung, lambda: False))
    pulling.start()
    try:
        keeper.set(Instance(ID, digest), Restart(), Probe())
        wait_for(lambda: keeper.view().health == "healthy")
        (seen,) = host.list()
        ended = time.monotonic()
        ask(seen.port, "end?1")
        wait_for(lambda: keeper.view().restarts == 1 and keeper.view().health == "healthy")
        assert time.monotonic() - ended < 20  # a second, and what a busy machine adds
        assert pulling.is_alive()
    finally:
        stock.released.set()
        pulling.join()
        keeper.close()
        host.stop(ID, grace_s=0)


class HangingStock(FakeStock):
    """One of its images hangs until it is released."""

    def __init__(self, folder: Path, python_path: str) -> None:
        super().__init__(folder, python_path)
        self.hung: str | None = None
        self.released = threading.Event()

    def image(self, digest: str) -> StoredImage:
        if digest == self.hung:
            self.released.wait(60)
        return super().image(digest)


@pytest.mark.parametrize("policy", ["always", "on-failure", "on-unhealthy", "never"])
def test_what_its_host_took_along_when_it_ended_is_started_again(scene: Scene, policy: Any) -> None:
    """A Docker Engine that is updated ends all containers with SIGTERM: exit code 0."""
    scene.keep(Restart(policy=policy))
    scene.host.fail("dockerd is down")
    scene.run(3)
    scene.host.end(ID, 0)
    scene.run(3)
    scene.host.fail(None)
    scene.run(6)
    view = scene.keeper.view()
    assert (view.health, view.restarts, view.error) == ("healthy", 0, None)


def test_what_was_done_before_its_host_ended_stays_done(scene: Scene) -> None:
    scene.keep(Restart(policy="on-failure"))
    scene.host.end(ID, 0)
    scene.run(3)
    scene.host.fail("dockerd is down")
    scene.run(3)
    scene.host.fail(None)
    scene.run(6)
    assert scene.keeper.view().health == "stopped"
