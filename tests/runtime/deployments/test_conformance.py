"""One suite for all kinds of targets: what is declared is made so, a bad release is taken back with
its cause, what is deleted is gone, and all that with a controller which is killed in between.

    local            server processes
    docker           this machine's engine
    remote docker    another engine, over TLS
    fpga             an emulated board
    edge             devices of a hub, which report what they were told
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge.hosts.port import ModuleHost
from edge.hosts.processes import ProcessHost
from fpga.build import Order, build
from registry import Workspace
from registry.deployments import Deployment, Health, RevisionSettings, Rollout, ServiceSettings
from registry.fpga_artifact import FpgaContents
from runtime.balance.balancer import Balancer
from runtime.deployments.engines import docker_host
from runtime.deployments.here import balancer_folder
from runtime.deployments.stock import WorkspaceStock
from tests.engine import program
from tests.fpga.build.networks import inputs, write
from tests.runtime.deployments.containers import add_versions, copied
from tests.runtime.deployments.far_engine import FarEngine
from tests.runtime.deployments.field import Field, living
from tests.runtime.deployments.waiting import cause_of, eventually, state
from tests.runtime.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROLLOUT = Rollout(steps=(50.0, 100.0), step_s=0.3, least_requests=0)
GOOD = RevisionSettings(health=Health(start_s=60.0, interval_s=0.1))
HASTY = RevisionSettings(health=Health(start_s=0.1, interval_s=0.1))
"""Nothing is ready so soon."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A workspace with a target of the kind. ``images``: the first, the next and a bad one;
    ``bad``: the settings that it comes with; ``cause``: why it is taken back; ``rows``: what the
    images take; ``left``: what still runs; ``field``: the devices."""

    made: Workspace
    target: str
    images: tuple[str, str, str]
    cause: str
    left: Callable[[], object]
    bad: RevisionSettings = GOOD
    rows: Any = field(default_factory=lambda: [[1, 2, 3]])
    field: Field | None = None


def test_what_is_declared_is_made_so_whatever_happens_to_the_controller(stage: Stage) -> None:
    deployments, (first, second, bad) = stage.made.deployments, stage.images
    with controllers(stage) as again:
        deployments.create(
            "web", first, target=stage.target, settings=GOOD,
            service=ServiceSettings(rollout=ROLLOUT), actor="ada",
        )  # fmt: skip
        at_first = answer(stage, eventually(lambda: live(stage, 1)))

        deployments.update("web", image=second, actor="ada")
        again()
        answer(stage, eventually(lambda: live(stage, 2)))

        deployments.rollback("web", None, actor="ada")
        assert answer(stage, eventually(lambda: live(stage, 1))) == at_first

        deployments.update("web", image=bad, settings=stage.bad, actor="ada")
        found = eventually(lambda: taken_back(stage, 3))
        assert stage.cause in cause_of(found)
        again()
        found = eventually(lambda: taken_back(stage, 3))
        assert stage.cause in cause_of(found)
        assert answer(stage, found) == at_first

        deployments.delete("web", actor="ada")
        again()
        eventually(lambda: not deployments.list())
        assert not stage.left()
    aims = [e.event for e in deployments.ledger("web") if e.actor == "ada"]
    assert aims == ["created", "updated", "rolled back", "updated", "deleted"]


def live(stage: Stage, revision: int) -> Deployment | None:
    """The deployment, once it runs this one and nothing else."""
    found = state(stage.made, "running")
    if found is None or [(s.revision, s.percent) for s in found.traffic] != [(revision, 100)]:
        return None
    observed = found.observed
    assert observed is not None
    ready = [each.revision for each in observed.replicas if each.state == "ready"]
    return found if ready and set(ready) == {revision} else None


def taken_back(stage: Stage, revision: int) -> Deployment | None:
    found = state(stage.made, "running")
    is_so = found is not None and f"revision {revision} was taken back" in cause_of(found)
    return found if is_so and live(stage, 1) is not None else None


def answer(stage: Stage, found: Deployment) -> object:
    """What clients get; of devices, what runs there."""
    if stage.field is not None:
        return [stage.field.running(name, "web") for name in ("press-1", "press-2")]
    assert found.observed is not None
    assert found.observed.url is not None
    request = urllib.request.Request(
        found.observed.url,
        json.dumps({"x": stage.rows}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as said:
        return json.loads(said.read())


@contextlib.contextmanager
def controllers(stage: Stage) -> Iterator[Callable[[], None]]:
    """One runs; what this gives kills it, and starts another."""
    program("haproxy")
    running = [_up(stage)]

    def again() -> None:
        running[-1].process.send_signal(signal.SIGKILL)
        running[-1].process.wait()
        running[-1].stop()
        running[-1] = _up(stage)

    folder = balancer_folder(stage.made.root)
    try:
        with living(stage.field) if stage.field is not None else contextlib.nullcontext():
            yield again
    finally:
        running[-1].stop()
        with Balancer(folder) as balancer:
            balancer.stop(1.0)
        shutil.rmtree(folder, ignore_errors=True)


def _up(stage: Stage) -> Server:
    words = ["inferry", "up", "--workspace", str(stage.made.root)]
    return Server(words, cwd=stage.made.root.parent)


# The kinds.


@contextlib.contextmanager
def local(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    made = Workspace.init(tmp_path / "ws", base="none")
    add_versions(made, tmp_path)
    host = ProcessHost(made.root / "deployments" / "processes" / "local", WorkspaceStock(made.root))
    with tidied(host):
        images = ("adder:1", "adder:2", "adder:3")
        yield Stage(made, "local", images, "golden input 1", host.list)


@contextlib.contextmanager
def docker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    request.getfixturevalue("engine")
    with _in_an_engine(tmp_path, request, {}) as found:
        yield found


@contextlib.contextmanager
def remote_docker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    far: FarEngine = request.getfixturevalue("far_engine")
    with _in_an_engine(tmp_path, request, {"url": far.url, "tls": str(far.tls)}) as found:
        yield found


@contextlib.contextmanager
def _in_an_engine(
    tmp_path: Path, request: pytest.FixtureRequest, settings: Mapping[str, str]
) -> Iterator[Stage]:
    made = copied(request.getfixturevalue("containers"), tmp_path / "ws")
    target = made.targets.attach("box", "docker", settings)
    host = docker_host(made.root, target, WorkspaceStock(made.root))
    with contextlib.closing(host), tidied(host):
        images = ("adder:1", "adder:2", "adder:3")
        yield Stage(made, "box", images, "golden input 1", host.list)


@contextlib.contextmanager
def board(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    made = Workspace.init(tmp_path / "ws", base="none")
    write(tmp_path)
    made.models.register(tmp_path / "model.onnx", name="net")

    def make(model: Path, say: Callable[[str], None]) -> FpgaContents:
        folder = tmp_path / f"made{len(list(tmp_path.glob('made*')))}"
        build(Order(tmp_path / "model.onnx", tmp_path / "calibration.npz", lanes=8), folder, say)
        return FpgaContents(folder)

    for _ in range(2):
        made.images.create_fpga("net", models=["net"], make=make)
    made.targets.attach("board", "fpga", {"board": f"emulated:conformance-{os.getpid()}"})
    host = ProcessHost(made.root / "deployments" / "processes" / "board", WorkspaceStock(made.root))
    with tidied(host):
        yield Stage(
            made, "board", ("net:1", "net:2", "net:2"), "not ready within 0.1 s", host.list,
            bad=HASTY, rows=inputs(2, seed=5).tolist(),
        )  # fmt: skip


@contextlib.contextmanager
def devices(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    made = Workspace.init(tmp_path / "ws", base="none")
    add_versions(made, tmp_path)
    made.targets.attach("line-3", "edge", {"condition": 'line == "3"'})
    names = ("press-1", "press-2")
    presses = Field(made.root, {name: {"line": "3"} for name in names})
    digest = made.images.get("adder:3").digest
    assert digest is not None
    presses.broken[digest] = "golden input 1: 4 and not 99"

    def left() -> list[str]:
        return [name for name in names if presses.running(name, "web") is not None]

    images = ("adder:1", "adder:2", "adder:3")
    yield Stage(made, "line-3", images, "golden input 1", left, field=presses)


KINDS = [
    pytest.param(local, id="local"),
    pytest.param(
        docker, id="docker", marks=[pytest.mark.engine, pytest.mark.xdist_group("far-engine")]
    ),
    pytest.param(
        remote_docker,
        id="remote docker",
        marks=[pytest.mark.engine, pytest.mark.xdist_group("far-engine")],
    ),
    pytest.param(board, id="fpga"),
    pytest.param(devices, id="edge"),
]


@pytest.fixture(params=KINDS)
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with request.param(tmp_path, request) as found:
        yield found


@contextlib.contextmanager
def tidied(host: ModuleHost) -> Iterator[None]:
    """Nothing is left behind."""
    try:
        yield
    finally:
        for each in host.list():
            host.stop(each.id, 1.0)
        host.discard([])
