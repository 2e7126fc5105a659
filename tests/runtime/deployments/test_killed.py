"""A controller that is killed at any moment: the next one comes to the same end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from edge.errors import HostError
from edge.hosts.port import ModuleHost
from registry import Workspace
from registry.deployments import Deployments, Health, RevisionSettings, Rollout, ServiceSettings
from runtime.balance.balancer import ServiceState
from runtime.deployments.unit import ReplicaUnit
from tests.registry.onnx_files import adder
from tests.runtime.deployments.fake_host import FakeHost, fake_host

pytestmark = pytest.mark.slow
SERVICE = ServiceSettings(
    least_replicas=2,
    most_replicas=2,
    rollout=Rollout(steps=(50.0, 100.0), step_s=0.0, least_requests=0),
)
SETTINGS = RevisionSettings(health=Health(start_s=60.0, interval_s=0.05))
WRITES = ("set_traffic", "note", "observe", "forget", "start", "stop")
MOST_KILLS = 40


class Killed(BaseException):
    """As kill -9: nothing is done any more."""


class Life:
    """Of one controller: it ends before or after its ``left``-th write; then nothing of it is done
    any more, in no thread."""

    def __init__(self, left: int, *, is_after: bool) -> None:
        self.left, self.is_after = left, is_after
        self.is_over = False
        self._guard = threading.Lock()

    def of(self, target: object) -> Any:
        life = self

        class Mortal:
            def __getattr__(self, name: str) -> Any:
                found = getattr(target, name)
                return life.written(name, found) if name in WRITES else found

        return Mortal()

    def written(self, name: str, do: Callable[..., object]) -> Callable[..., object]:
        def write(*args: object, **options: object) -> object:
            with self._guard:
                self.left -= 1
                is_last = self.left == 0 and not self.is_over
                if self.is_over or (is_last and not self.is_after):
                    self._die(name)
            done = do(*args, **options)
            if is_last:
                self._die(name)
            return done

        return write

    def _die(self, name: str) -> None:
        self.is_over = True
        if name in ("start", "stop"):
            raise HostError("killed")  # in a thread, which the process takes along
        raise Killed


@pytest.fixture
def made(tmp_path: Path) -> Workspace:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    for constant in (1.0, 2.0):
        workspace.models.register(adder(tmp_path / "m.onnx", constant=constant), name="adder")
        workspace.images.create("adder", models=["adder"], proof=False)
    return workspace


@contextlib.contextmanager
def controlled(made: Workspace, host: FakeHost, life: Life) -> Iterator[Callable[[], bool]]:
    """What it gives does a tick; False once it was killed."""
    unit = ReplicaUnit(
        "web",
        cast("Deployments", life.of(made.deployments)),
        cast("ModuleHost", life.of(host)),
    )
    now_s = 1000.0

    def tick() -> bool:
        nonlocal now_s
        now_s += 1.0
        if not life.is_over and not unit.is_gone:
            with contextlib.suppress(Killed):
                unit.tick(now_s, ServiceState("web", (), 0, 0))
        time.sleep(0.005)
        return not life.is_over

    try:
        yield tick
    finally:
        life.is_over = True
        unit.close(1.0)


def run(made: Workspace, host: FakeHost, life: Life, is_there: Callable[[], bool]) -> bool:
    """Until it is so, or it is killed: whether it was not."""
    deadline = time.monotonic() + 30
    with controlled(made, host, life) as tick:
        while not is_there():
            assert time.monotonic() < deadline, made.deployments.list()
            if not tick():
                return False
    return True


def runs(host: FakeHost) -> list[str]:
    """Revisions of what runs."""
    return sorted(each.id.module.split(".")[1] for each in host.list())


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.timeout(300)
def test_at_whichever_write_it_is_killed_the_next_one_comes_to_the_same_end(
    made: Workspace, is_after: bool
) -> None:
    forever = 1_000_000

    def live() -> list[tuple[int, float]]:
        found = made.deployments.get("web").traffic
        return [(share.revision, share.percent) for share in found]

    def is_new() -> bool:
        return live() == [(2, 100.0)] and runs(host) == ["2", "2"]

    kills = 0
    for moment in range(1, MOST_KILLS):
        with fake_host() as host:
            made.deployments.create("web", "adder:1", service=SERVICE, settings=SETTINGS, actor="a")
            start = Life(forever, is_after=False)
            run(made, host, start, lambda: live() == [(1, 100.0)] and runs(host) == ["1", "1"])
            made.deployments.update("web", image="adder:2", actor="a")
            if run(made, host, Life(moment, is_after=is_after), is_new):
                break
            kills += 1
            run(made, host, Life(forever, is_after=False), is_new)
            entries = made.deployments.ledger("web")
            assert [e.event for e in entries if "taken back" in e.event] == []
            made.deployments.delete("web", actor="a")
            for left in (1 + moment % 4, forever):
                run(made, host, Life(left, is_after=is_after), lambda: not made.deployments.list())
            assert list(host.list()) == []
            assert made.deployments.list() == []
    assert kills >= 8
