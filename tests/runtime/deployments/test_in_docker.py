"""Replicas as containers of a real Docker Engine, behind a real HAProxy."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.hosts.containers import DockerHost
from registry import Workspace
from registry.deployments import Health, Resources, RevisionSettings, Rollout, ServiceSettings
from runtime.balance.balancer import Balancer
from runtime.deployments.controller import Controller
from runtime.deployments.golden import sampler
from runtime.deployments.place import Place, ReplicaUnits
from runtime.deployments.secret_files import SecretFiles
from runtime.deployments.stock import WorkspaceStock
from tests.engine import Engine
from tests.registry.onnx_files import adder
from tests.runtime.deployments.waiting import eventually, score, state, url_port

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(300)]
READER = (10001, 10001)
SCRIPT = """
import os
from pathlib import Path

def init():
    pass

def run(data):
    secret = Path(os.environ["INFERRY_SECRETS"], "token")
    return [os.environ["GREETING"], secret.read_text(), os.getuid()]
"""


@pytest.fixture
def made(tmp_path: Path, debian_base: Path) -> Workspace:
    """Images ``teller:1`` and ``adder:1``, which are containers."""
    workspace = Workspace.init(tmp_path / "ws", base=str(debian_base))
    workspace.models.register(adder(tmp_path / "m.onnx"), name="adder")
    (tmp_path / "score.py").write_text(SCRIPT)
    workspace.images.create("teller", models=["adder"], script=tmp_path / "score.py", proof=False)
    return workspace


@pytest.fixture
def host(made: Workspace, engine: Engine) -> Iterator[DockerHost]:
    found = DockerHost(f"test-{engine.owner}", WorkspaceStock(made.root), list_age_s=0.1)
    try:
        yield found
    finally:
        for each in found.list():
            found.stop(each.id, 1.0)
        found.discard([])
        found.close()


def test_containers_answer_come_back_and_are_replaced(
    made: Workspace, host: DockerHost, engine: Engine, folder: Path
) -> None:
    service = ServiceSettings(
        least_replicas=2, most_replicas=2,
        rollout=Rollout(steps=(50.0, 100.0), step_s=0.5, least_requests=0),
    )  # fmt: skip
    settings = RevisionSettings(
        {"GREETING": "hello"}, ("token",), Resources(0.5, 512 << 20), Health(60.0, 0.2)
    )
    made.deployments.create(
        "web", "teller", service=service, settings=settings,
        secrets={"token": b"open sesame"}, actor="a",
    )  # fmt: skip
    reader = READER if os.geteuid() == 0 else None
    units = ReplicaUnits(
        deployments=made.deployments,
        place_of=lambda target: Place(host),
        sample=sampler(WorkspaceStock(made.root)),
        secret_files=SecretFiles(made.root / "deployments" / "secrets", reader),
    )
    controller = Controller(made, Balancer(folder), units, tick_s=0.1)
    with controller:
        thread = threading.Thread(target=controller.run)
        thread.start()
        try:
            port = url_port(eventually(lambda: state(made, "running"), 120))
            assert score("127.0.0.1", port, [[1]]) == ["hello", "open sesame", 10001]

            victim = host.list()[0].id
            name = f"inferry-edge-test-{engine.owner}-{victim.module}-live"
            assert engine.run("inspect", "--format", "{{.HostConfig.Memory}}", name) == str(
                512 << 20
            )
            engine.run("kill", name)
            for _ in range(20):
                assert score("127.0.0.1", port, [[1]])[0] == "hello"
            eventually(lambda: state(made, "running") and len(host.list()) == 2, 60)

            changed = RevisionSettings(
                {"GREETING": "good day"}, settings.secrets, settings.resources, settings.health
            )
            made.deployments.update("web", settings=changed, actor="a")
            said = set()

            def is_over() -> bool:
                said.add(score("127.0.0.1", port, [[1]])[0])
                found = state(made, "running")
                return found is not None and [s.revision for s in found.traffic] == [2]

            eventually(is_over, 120)
            assert said == {"hello", "good day"}
            made.deployments.delete("web", actor="a")
            eventually(lambda: not made.deployments.list(), 90)
            assert list(host.list()) == []
        finally:
            controller.stop()
            thread.join(60)
            with_balancer_stopped(controller)


def with_balancer_stopped(controller: Controller) -> None:
    """Nothing is left behind."""
    controller._balancer.stop(1.0)
