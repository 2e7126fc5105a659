"""A shadow with real processes, a real HAProxy and a real mirror: clients get the answers of the
primary only, and what is copied is counted to the last one."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge.hosts.processes import ProcessHost
from registry import Workspace
from registry.deployments import Health, RevisionSettings, Rollout, ServiceSettings, Share
from runtime.deployments.controller import Controller
from runtime.deployments.place import Place, ReplicaUnits
from runtime.shadow.balancing import MirroredBalancer
from runtime.shadow.counts import Counts
from runtime.shadow.reading import read_counts
from tests.runtime.deployments.waiting import eventually, state, url_port
from tests.runtime.shadow.processes import killed

pytestmark = pytest.mark.slow
SERVICE = ServiceSettings(
    rollout=Rollout(steps=(100.0,), step_s=0.0, least_requests=0), is_keyed=True
)
SETTINGS = RevisionSettings(health=Health(start_s=30.0, interval_s=0.1))
CLIENTS = 4


@contextlib.contextmanager
def controlled(made: Workspace, host: ProcessHost, folder: Path) -> Iterator[MirroredBalancer]:
    """All of it ends with the block."""
    units = ReplicaUnits(deployments=made.deployments, place_of=lambda target: Place(host))
    balancer = MirroredBalancer(folder)
    try:
        with Controller(made, balancer, units, tick_s=0.1) as controller:
            thread = threading.Thread(target=controller.run)
            thread.start()
            try:
                yield balancer
            finally:
                controller.stop()
                thread.join(60)
    finally:
        for found in host.list():
            host.stop(found.id, 1.0)
        with MirroredBalancer(folder) as again:
            again.stop(1.0)
        eventually(lambda: not killed(folder))  # a mirror that finishes what it has


class Client:
    """One connection, with the key."""

    def __init__(self, port: int, key: str) -> None:
        self._port, self._key = port, key
        self._link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def ask(self, rows: object) -> tuple[int | None, object]:
        """Status (None: the connection broke) and document."""
        try:
            self._link.request(
                "POST", "/score", json.dumps({"x": rows}), {"Authorization": f"Bearer {self._key}"}
            )
            answer = self._link.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            self._link.close()
            self._link = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            return None, None

    def close(self) -> None:
        self._link.close()


def shadowed(made: Workspace, percent: float = 100.0) -> None:
    """Revision 1 answers, revision 2 adds another constant."""
    made.deployments.create("web", "adder:1", service=SERVICE, settings=SETTINGS, actor="ada")
    eventually(lambda: state(made, "running"))
    made.deployments.update("web", image="adder:2", shadow=percent, actor="ada")


def test_the_primary_answers_and_every_copy_is_compared(
    made: Workspace, host: ProcessHost, folder: Path
) -> None:
    with controlled(made, host, folder) as balancer:
        shadowed(made)
        port, key = url_port(made.deployments.get("web")), made.deployments.keys("web")["primary"]

        def is_mirrored() -> bool:
            client = Client(port, key)
            with contextlib.closing(client):
                client.ask([[0.0, 0.0, 0.0]])
            found = read_counts(folder, "web").get("r2")
            return found is not None and found.copied > 0

        eventually(is_mirrored)
        before = settled(folder)

        def asked(at: int) -> None:
            client = Client(port, key)
            with contextlib.closing(client):
                for number in range(50):
                    assert client.ask([[number, at, 2]]) == (200, {"y": [[number + 1, at + 1, 3]]})
                    assert client.ask([["no number"]])[0] == 400

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(asked, range(CLIENTS)))
        stranger = Client(port, "k" * 40)
        with contextlib.closing(stranger):
            assert stranger.ask([[1, 2, 3]])[0] == 401
        after = eventually(lambda: reached(folder, before.copied + 100 * CLIENTS))
        assert after.different - before.different == 50 * CLIENTS
        assert after.equal - before.equal == 50 * CLIENTS  # both refuse with the same status
        assert (after.failed, after.largest) == (0, 1.0)
        assert '"y"' in after.differences[-1].primary
        assert len(after.differences[-1].input_sha256) == 64

        odd_requests(host, port, key)

        pid = balancer.mirrors.pid("web")
        assert pid is not None
        lost = under_load(port, key, lambda: os.kill(pid, signal.SIGKILL))
        # What was under way in it, and what came while the kernel closed its connections.
        assert lost <= 4 * CLIENTS
        eventually(lambda: balancer.mirrors.pid("web") not in (pid, None))
        eventually(lambda: reached(folder, after.copied + 1))

        shadow = next(each for each in host.list() if each.id.module.startswith("web.2."))
        record = host._run(shadow.id).record()
        assert record is not None
        assert under_load(port, key, lambda: os.kill(record.pid, signal.SIGKILL)) == 0
        made.deployments.set_traffic("web", [Share(1, 100)], actor="ada")
        eventually(lambda: balancer.mirrors.pid("web") is None)
        assert under_load(port, key, lambda: None) == 0


def odd_requests(host: ProcessHost, port: int, key: str) -> None:
    """They are answered as the primary answers them itself."""
    primary = next(each for each in host.list() if each.id.module.startswith("web.1."))
    assert primary.port is not None
    body = b'{"x": [[1, 2, 3]]}'
    for framing in (
        b"Content-Length: 100000000000\r\n\r\n{",  # refused before it is sent
        b"Transfer-Encoding: chunked\r\n\r\n9\r\n%b\r\n9\r\n%b\r\n0\r\n\r\n" % (body[:9], body[9:]),
        b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
        b"X-Request-Deadline-Ms: 0.000001\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
        b"Content-Encoding: what\r\nContent-Length: 2\r\n\r\n{}",
    ):
        head = b"POST /score HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n" % key.encode()
        found = [final(place, head + framing) for place in (primary.port, port)]
        assert found[0] == found[1], framing[:40]


def final(port: int, request: bytes) -> tuple[int, bytes]:
    """Status and body of the answer that is not interim."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as link:
        link.sendall(request)
        answer = http.client.HTTPResponse(link, method="POST")
        with contextlib.closing(answer):
            answer.begin()
            return answer.status, answer.read()


def settled(folder: Path) -> Counts:
    """Once nothing is under way."""
    last = -1

    def is_same() -> Counts | None:
        nonlocal last
        found = read_counts(folder, "web")["r2"]
        before, last = last, found.copied
        return found if before == last else None

    return eventually(is_same)


def reached(folder: Path, copied: int) -> Counts | None:
    """The counts, once there are so many."""
    found = read_counts(folder, "web").get("r2")
    return found if found is not None and found.copied >= copied else None


def under_load(port: int, key: str, act: object) -> int:
    """How many requests failed; none of the others was answered wrongly."""
    assert callable(act)
    failed, done = [0] * CLIENTS, [0] * CLIENTS
    is_over = threading.Event()

    def run(at: int) -> None:
        client = Client(port, key)
        with contextlib.closing(client):
            while not is_over.is_set():
                status, document = client.ask([[at, 0, 0]])
                if status == 200:
                    assert document == {"y": [[at + 1, 1, 1]]}
                else:
                    failed[at] += 1
                done[at] += 1

    with ThreadPoolExecutor(CLIENTS) as pool:
        runs = [pool.submit(run, at) for at in range(CLIENTS)]
        try:
            eventually(lambda: all(count > 20 for count in done))
            act()
            marks = list(done)
            eventually(lambda: all(c > m + 50 for c, m in zip(done, marks, strict=True)))
        finally:
            is_over.set()
        for each in runs:
            each.result()
    return sum(failed)
