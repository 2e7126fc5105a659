"""What people and machines do to deployments: each has a clear state and cause, and is no other's
affair."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from edge.hosts.processes import ProcessHost
from edge.stock.port import StoredImage
from registry import Workspace
from registry.deployments import (
    Resources,
    RevisionSettings,
    ServiceSettings,
)
from runtime.deployments.publication import free_port
from runtime.deployments.stock import WorkspaceStock
from runtime.deployments.unit import ReplicaUnit
from tests.runtime.balance.test_tls import DAY, NOW, issued
from tests.runtime.deployments.controlled import SERVICE, SETTINGS, controlled, removed
from tests.runtime.deployments.waiting import cause_of, eventually, score, state, url_port

pytestmark = pytest.mark.slow


def test_one_broken_deployment_blocks_no_other(
    made: Workspace, host: ProcessHost, folder: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        service = ServiceSettings(port=taken.getsockname()[1])
        made.deployments.create("bad", "adder:1", service=service, settings=SETTINGS, actor="a")
        made.deployments.create("web", "adder:1", service=SERVICE, settings=SETTINGS, actor="a")
        with removed(made, host, folder), controlled(made, host, folder):
            port = url_port(eventually(lambda: state(made, "running")))
            assert score("127.0.0.1", port, [[1, 2, 3]]) == {"y": [[2, 3, 4]]}
            eventually(lambda: str(service.port) in cause_of(made.deployments.get("bad")))


def test_a_host_name_without_address_is_a_cause(
    made: Workspace, host: ProcessHost, folder: Path
) -> None:
    service = ServiceSettings(host="no-such-host.invalid")
    made.deployments.create("web", "adder:1", service=service, settings=SETTINGS, actor="ada")
    with removed(made, host, folder), controlled(made, host, folder):
        eventually(lambda: "no-such-host.invalid" in cause_of(made.deployments.get("web")))
        made.deployments.delete("web", actor="ada")
        eventually(lambda: not made.deployments.list())


def test_a_certificate_that_cannot_be_used_any_more_is_a_cause_and_clients_keep_the_one_they_have(
    made: Workspace, host: ProcessHost, folder: Path, tmp_path: Path
) -> None:
    good = issued(tmp_path / "good.pem")
    bad = issued(tmp_path / "bad.pem", not_after=NOW - DAY, not_before=NOW - 2 * DAY)
    for name, certificate in (("web", good), ("late", bad)):
        service = ServiceSettings(tls_certificate=str(certificate.path), rollout=SERVICE.rollout)
        made.deployments.create(name, "adder:1", service=service, settings=SETTINGS, actor="a")
    context = ssl.create_default_context()
    good.authority.configure_trust(context)

    def answers(port: int) -> bool:
        request = urllib.request.Request(
            f"https://127.0.0.1:{port}/score", b'{"x": [[1, 2, 3]]}',
            {"Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return bool(answer.status == 200)

    with removed(made, host, folder), controlled(made, host, folder):
        port = url_port(eventually(lambda: state(made, "running")))
        assert answers(port)
        # One that has expired is not opened, which is no other's affair.
        eventually(lambda: "expired on" in cause_of(made.deployments.get("late")))
        good.path.unlink()
        found = eventually(lambda: state(made, "degraded"))
        assert "cannot read the certificate" in cause_of(found)
        assert answers(port)
        issued(bad.path, good.authority)
        good.path.write_bytes(bad.path.read_bytes())
        eventually(lambda: state(made, "running"))
        assert answers(url_port(eventually(lambda: state(made, "running", "late"))))


def test_of_two_deployments_with_one_port_one_answers_and_the_other_says_why(
    made: Workspace, host: ProcessHost, folder: Path
) -> None:
    service = ServiceSettings(port=free_port("127.0.0.1"), rollout=SERVICE.rollout)
    made.deployments.create("web", "adder:1", service=service, settings=SETTINGS, actor="a")
    with removed(made, host, folder), controlled(made, host, folder):
        eventually(lambda: state(made, "running"))
        made.deployments.create("next", "adder:2", service=service, settings=SETTINGS, actor="a")
        eventually(lambda: "take another port" in cause_of(made.deployments.get("next")))
        assert score("127.0.0.1", service.port, [[1, 2, 3]]) == {"y": [[2, 3, 4]]}
        made.deployments.delete("web", actor="a")
        eventually(lambda: state(made, "running", "next"))
        assert score("127.0.0.1", service.port, [[1, 2, 3]]) == {"y": [[3, 4, 5]]}


def test_an_image_for_another_machine_says_so(made: Workspace, tmp_path: Path) -> None:
    class Foreign(WorkspaceStock):
        def image(self, digest: str) -> StoredImage:
            python = f"/usr/bin/python3.{sys.version_info[1]}"
            config = json.dumps({"architecture": "riscv64", "os": "linux"}).encode()
            found = super().image(digest)
            return replace(found, kind="container", python_path=python, config=config)

    host = ProcessHost(tmp_path / "processes", Foreign(made.root))
    made.deployments.create("web", "adder:1", service=SERVICE, settings=SETTINGS, actor="a")
    unit = ReplicaUnit("web", made.deployments, host)
    try:
        unit.tick(1.0, None)
        assert "it is for riscv64, this device is" in unit.shown
    finally:
        unit.close()


def test_an_image_that_is_not_whole_any_more_says_so(made: Workspace, host: ProcessHost) -> None:
    made.deployments.create("web", "adder:1", service=SERVICE, settings=SETTINGS, actor="a")
    digest = made.deployments.get("web").revision(1).digest.removeprefix("sha256:")
    (blob,) = [path for path in made.root.rglob(f"*{digest}*") if path.is_file()]
    blob.chmod(0o600)
    blob.unlink()
    unit = ReplicaUnit("web", made.deployments, host)
    try:
        unit.tick(1.0, None)
        assert "is not in this workspace any more" in unit.shown
    finally:
        unit.close()


GREEDY = """
def init():
    global kept
    kept = []
    while True:
        kept.append(bytearray(b"x" * (8 << 20)))

def run(data):
    return 1
"""


def test_a_replica_that_takes_too_much_memory_says_so(
    made: Workspace, host: ProcessHost, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text(GREEDY)
    made.images.create("greedy", models=["adder"], script=tmp_path / "score.py", proof=False)
    settings = RevisionSettings(resources=Resources(memory_bytes=400 << 20), health=SETTINGS.health)
    made.deployments.create("web", "greedy", service=SERVICE, settings=settings, actor="a")
    with removed(made, host, folder), controlled(made, host, folder):
        found = eventually(lambda: state(made, "failed"))
        assert "too much memory" in cause_of(found) or "MemoryError" in cause_of(found)
