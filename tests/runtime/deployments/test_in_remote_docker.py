"""Replicas in the Docker Engine of another machine, over TLS and over ssh. The other machine is a
second engine of this one, which shares nothing with the first."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from edge.errors import HostError
from edge.hosts.port import Instance, InstanceId
from registry import Workspace
from registry.deployments import (
    Health,
    Observed,
    RevisionSettings,
    Rollout,
    ServiceSettings,
    Target,
)
from runtime.balance.balancer import Balancer
from runtime.deployments.controller import only_controller
from runtime.deployments.engines import docker_host, replicas_address, tried
from runtime.deployments.here import balancer_folder, controller_of
from runtime.deployments.stock import WorkspaceStock
from tests.engine import program
from tests.runtime.deployments.containers import SECRET, copied
from tests.runtime.deployments.far_engine import (
    FarEngine,
    FarSsh,
    Road,
    client_files,
)
from tests.runtime.deployments.waiting import cause_of, eventually, score, state, url_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("far-engine"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, containers: Path) -> Workspace:
    """See containers.py."""
    return copied(containers, tmp_path_factory.mktemp("far") / "ws")


def target(name: str, **settings: str) -> Target:
    return Target(name, "docker", settings, "")


def tls_target(engine: FarEngine, port: int | None = None) -> Target:
    url = engine.url if port is None else f"tcp://127.0.0.1:{port}"
    return target("far", url=url, tls=str(engine.tls))


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(SECRET)
    return tmp_path


def instance(made: Workspace, secrets: Path) -> Instance:
    digest = made.images.get("teller").digest
    assert digest is not None
    return Instance(
        InstanceId("web.1.abc", "live"), digest, env={"GREETING": "hi"}, secrets_folder=secrets
    )


def test_an_engine_says_what_it_is(far_engine: FarEngine, far_ssh: FarSsh) -> None:
    over_ssh = target("far", url=far_ssh.url, ssh_config=str(far_ssh.config))
    first, second = tried(tls_target(far_engine)), tried(over_ssh)
    assert first == second
    assert first.architecture == os.uname().machine
    assert first.memory_bytes > 1 << 28
    assert far_engine.run("version", "--format", "{{.Server.Version}}") == first.version


def test_an_engine_that_goes_away_in_mid_step_is_said_and_the_step_is_done_again(
    far_engine: FarEngine, made: Workspace, secrets: Path
) -> None:
    road, digest = Road(far_engine.port), instance(made, secrets).digest
    host = docker_host(made.root, tls_target(far_engine, road.port), WorkspaceStock(made.root))
    with contextlib.closing(road), contextlib.closing(host):
        road.cut_after = 2_000_000
        with pytest.raises(HostError, match="cannot load the image"):
            host.prepare(digest, lambda: False)
        assert road.is_cut
        began = time.monotonic()
        with pytest.raises(HostError, match="no Docker Engine answers at tcp://"):
            host.prepare(digest, lambda: False)
        assert time.monotonic() - began < 20
        road.mend()
        host.prepare(digest, lambda: False)


def test_over_ssh_a_container_runs_with_its_secret_and_leaves_nothing(
    far_engine: FarEngine, far_ssh: FarSsh, made: Workspace, secrets: Path
) -> None:
    over_ssh = target("far", url=far_ssh.url, ssh_config=str(far_ssh.config))
    host, wanted = (
        docker_host(made.root, over_ssh, WorkspaceStock(made.root)),
        instance(made, secrets),
    )
    with contextlib.closing(host):
        host.prepare(wanted.digest, lambda: False)
        host.start(wanted)
        try:
            port = eventually(lambda: next((e.port for e in host.list() if e.port), None))
            assert eventually(lambda: _answer(port)) == ["hi", SECRET, 10001]
            assert "asked" in host.logs(wanted.id, 100)
            _check_kept_secret(far_engine)
        finally:
            host.stop(wanted.id, 1.0)
        assert host.list() == []
    assert far_engine.run("ps", "-aq") == far_engine.run("volume", "ls", "-q") == ""


def _answer(port: int) -> object:
    try:
        return score("127.0.0.1", port, [[1]])
    except OSError:
        return None


def _check_kept_secret(engine: FarEngine) -> None:
    """It is in the memory of the container's machine, and in nothing that is kept or shown."""
    (container,) = engine.run("ps", "-q").split()
    (found,) = json.loads(engine.run("inspect", container))
    assert [each["Type"] for each in found["Mounts"]] == ["volume"]
    assert SECRET not in json.dumps(found)
    (volume,) = engine.run("volume", "ls", "-q").split()
    (kept,) = json.loads(engine.run("volume", "inspect", volume))
    assert kept["Options"]["type"] == "tmpfs"
    assert SECRET not in json.dumps(kept)
    assert SECRET not in engine.run("history", "--no-trunc", found["Image"])


CAUSES = [
    ({"url": "tcp://no-such-host.invalid:2376", "insecure": "true"}, "not known"),
    ({"url": "tcp://127.0.0.1:1"}, "Connection refused"),
    ({"url": "ssh://no-such-host.invalid"}, "Could not resolve hostname"),
    ({"url": "ssh://127.0.0.1:1"}, "Connection refused"),
    ({"url": "tcp://192.0.2.1:2375"}, "without TLS"),
    ({"url": "tcp://192.0.2.1:2376", "tls": "/nowhere"}, "no ca.pem and no cert.pem"),
    ({"url": "tcp://192.0.2.1", "insecure": "true"}, "say the port"),
    ({"url": "ssh://a:b@192.0.2.1"}, "no password"),
    ({"url": "ssh://192.0.2.1", "ssh_config": "/nowhere"}, "no such ssh_config"),
    ({"tls": "/nowhere"}, "says nothing without url"),
]


@pytest.mark.parametrize(("settings", "said"), CAUSES)
def test_why_an_engine_cannot_be_had_is_said_in_a_line(settings: dict[str, str], said: str) -> None:
    with pytest.raises(HostError, match=said) as caught:
        tried(target("far", **settings))
    assert "\n" not in str(caught.value)


def test_certificates_and_keys_that_are_refused_are_said(
    far_engine: FarEngine, far_ssh: FarSsh, tmp_path: Path
) -> None:
    other = trustme.CA()
    for folder, said in (
        (client_files(tmp_path / "a", other, far_engine.ca), "its certificate is refused"),
        (client_files(tmp_path / "b", far_engine.ca, other), "does not take this machine's"),
    ):
        with pytest.raises(HostError, match=said):
            tried(target("far", url=far_engine.url, tls=str(folder)))
    with pytest.raises(HostError, match="HTTPS server"):
        tried(target("far", url=far_engine.url))
    for config, said in (
        (far_ssh.stranger, "Permission denied"),
        (far_ssh.careless, "verification"),
    ):
        with pytest.raises(HostError, match=said):
            tried(target("far", url=far_ssh.url, ssh_config=str(config)))


def test_where_replicas_answer_is_the_engines_host_unless_it_is_said() -> None:
    assert replicas_address(target("far", url="ssh://root@127.0.0.1:22")) == "127.0.0.1"
    assert replicas_address(target("far", url="ssh://box", address="127.0.0.9")) == "127.0.0.9"
    assert replicas_address(target("here")) == "127.0.0.1"
    with pytest.raises(HostError, match="--set address="):
        replicas_address(target("far", url="ssh://no-such-host.invalid"))


class _Arm(http.server.BaseHTTPRequestHandler):
    """An engine of arm64, as far as anybody gets."""

    def do_GET(self) -> None:
        body = json.dumps(
            {"Version": "25.0", "ApiVersion": "1.41", "Arch": "arm64", "Os": "linux"}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *words: object) -> None:
        """Nothing."""


def test_an_engine_of_another_architecture_is_sent_nothing(made: Workspace, secrets: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Arm) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        arm = target("arm", url=f"tcp://127.0.0.1:{server.server_address[1]}")
        host = docker_host(made.root, arm, WorkspaceStock(made.root))
        digest = instance(made, secrets).digest
        with (
            contextlib.closing(host),
            pytest.raises(HostError, match=r"linux/amd64.*linux/arm64.*--platform"),
        ):
            host.prepare(digest, lambda: False)
        server.shutdown()
        thread.join()


@pytest.fixture
def deployed(made: Workspace, far_engine: FarEngine) -> Iterator[Road]:
    """``web`` is declared for the far engine, at the end of a road."""
    program("haproxy")
    road = Road(far_engine.port)
    settings = {"url": f"tcp://127.0.0.1:{road.port}", "tls": str(far_engine.tls)}
    made.targets.attach("far", "docker", settings)
    service = ServiceSettings(rollout=Rollout(steps=(100.0,), step_s=0.0, least_requests=0))
    made.deployments.create(
        "web", "teller", target="far", service=service,
        settings=RevisionSettings({"GREETING": "hi"}, ("token",), health=Health(60.0, 0.2)),
        secrets={"token": SECRET.encode()}, actor="a",
    )  # fmt: skip
    yield road
    road.close()
    for each in made.deployments.list():
        made.deployments.delete(each.name, actor="a")
        made.deployments.forget(each.name)
    made.targets.detach("far")


def test_while_its_api_is_away_replicas_get_traffic_and_others_go_on(
    made: Workspace, far_engine: FarEngine, deployed: Road
) -> None:
    try:
        with controlling(made):
            port = url_port(eventually(lambda: state(made, "running"), 120))
            assert score("127.0.0.1", port, [[1]]) == ["hi", SECRET, 10001]
            _check_kept_secret(far_engine)
            deployed.cut()
            eventually(lambda: "no Docker Engine answers" in cause(made, "degraded"), 60)
            made.deployments.create("other", "plain", actor="a")
            eventually(lambda: _is_running(made, "other"), 60)
            for _ in range(10):
                assert score("127.0.0.1", port, [[1]])[0] == "hi"
        made.deployments.observe("web", unseen(made))
        with controlling(made):  # one that has never reached the engine
            eventually(lambda: "no Docker Engine answers" in cause(made, "degraded"), 60)
            assert url_port(made.deployments.get("web")) == port
            for _ in range(10):
                assert score("127.0.0.1", port, [[1]])[0] == "hi"
            deployed.mend()
            eventually(lambda: state(made, "running"), 60)

            far_engine.run("kill", *far_engine.run("ps", "-q").split())
            eventually(lambda: far_engine.run("ps", "-q"), 60)
            eventually(lambda: state(made, "running") and _answer(port), 60)
            assert score("127.0.0.1", port, [[1]]) == ["hi", SECRET, 10001]

            for name in ("web", "other"):
                made.deployments.delete(name, actor="a")
            eventually(lambda: not made.deployments.list(), 90)
    finally:
        with Balancer(balancer_folder(made.root)) as balancer:
            balancer.stop(1.0)
        shutil.rmtree(balancer_folder(made.root), ignore_errors=True)
    assert far_engine.run("ps", "-aq") == far_engine.run("volume", "ls", "-q") == ""


@contextlib.contextmanager
def controlling(made: Workspace) -> Iterator[None]:
    """A controller, for the block."""
    with only_controller(made.root), controller_of(made, told=lambda line: None) as controller:
        thread = threading.Thread(target=controller.run)
        thread.start()
        try:
            yield
        finally:
            controller.stop()
            thread.join(60)


def unseen(made: Workspace) -> Observed:
    """As it was before anything went wrong."""
    observed = made.deployments.get("web").observed
    assert observed is not None
    return dataclasses.replace(observed, state="running", cause=None)


def cause(made: Workspace, wanted: str) -> str:
    found = state(made, wanted)
    return "" if found is None else cause_of(found)


def _is_running(made: Workspace, name: str) -> bool:
    observed = made.deployments.get(name).observed
    return observed is not None and observed.state == "running"
