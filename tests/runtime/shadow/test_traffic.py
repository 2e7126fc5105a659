"""Requests through a real HAProxy with a mirror beside it: shares, keys and sticky headers mean as
much as without, and a mirror that is slow, dead or hung costs nobody an answer."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.balance import Balance, Keys, Limits, Replica, Service, Version, key_digest_of
from runtime.balance.configuration import lane_name
from runtime.shadow.balancing import MirroredBalancer
from runtime.shadow.counts import Counts
from runtime.shadow.reading import read_counts
from tests.ports import free_port
from tests.runtime.balance.conftest import Front, Server, Servers, folder, servers
from tests.runtime.balance.load import Load, wait_until
from tests.runtime.shadow.processes import killed

__all__ = ["folder", "servers"]
pytestmark = pytest.mark.slow
KEY = "k" * 40


@pytest.fixture
def front(folder: Path) -> Iterator[Front]:
    """With a mirror where a version has copies."""
    told: list[str] = []
    with MirroredBalancer(folder, told=told.append) as balancer:
        yield Front(balancer, free_port(), told)
        balancer.stop(grace_s=0)
    wait_until(lambda: not killed(folder))


def live(server: Server, share: int = 1, name: str = "v1") -> Version:
    return Version(name, share, (server.replica,))


def shadow(server: Server, copies: int = 10_000, name: str = "v9") -> Version:
    return Version(name, 0, (server.replica,), copies=copies)


def mirror_of(front: Front) -> int:
    assert isinstance(front.balancer, MirroredBalancer)
    found = front.balancer.mirrors.pid("a")
    assert found is not None
    return found


def applied(front: Front, *versions: Version, **options: object) -> None:
    """And the mirror is in the way of requests, or is not, as it shall."""
    front.apply(*versions, **options)
    if any(version.copies for version in versions):
        wait_until(lambda: is_up(front))


def is_up(front: Front) -> bool:
    """It has answered a check, and HAProxy sends it requests."""
    api = front.balancer.keeper.apis()[0]
    text = api.ask("@1 show stat", re.compile(r"(?s)# .*"))[0]
    (row,) = [line for line in text.splitlines() if line.startswith("a.mirror,mirror,")]
    return ",UP," in row and "L7OK" in row


def counted(front: Front, name: str = "v9") -> Counts:
    return read_counts(front.balancer.keeper.folder, "a").get(name) or Counts("")


def test_a_share_of_requests_is_copied_and_all_are_split_as_ever(
    front: Front, servers: Servers
) -> None:
    first, second, copied = servers(), servers(), servers()
    versions = live(first, 3), live(second, 1, "v2")
    applied(front, *versions, shadow(copied, 5000))
    with Load(front.port) as load:
        load.wait_for(2000)
    assert load.failed() == []
    by = Counter(result.replica for result in load.results)
    assert set(by) == {first.port, second.port}  # never the shadow's
    assert by[first.port] / len(load.results) == pytest.approx(0.75, abs=0.06)
    wait_until(lambda: counted(front).copied + sum(counted(front).dropped.values()) > 0)
    wait_until(lambda: counted(front).copied == copied.begun())
    share = (counted(front).copied + sum(counted(front).dropped.values())) / len(load.results)
    assert share == pytest.approx(0.5, abs=0.08)
    # Of those that were copied the split is the same: the shadow has their ids.
    begun = copied.started()
    through = Counter(r.replica for r in load.results if r.id in begun)
    assert through[first.port] / len(begun) == pytest.approx(0.75, abs=0.08)
    # More copies, and other shadows, without a reload.
    assert front.apply(*versions, shadow(copied, 0)) == "reloaded"
    assert front.apply(*versions, shadow(copied, 100)) == "reloaded"
    assert front.apply(*versions, shadow(copied, 200)) == "commands"


def test_a_sticky_header_keeps_its_version_on_either_way(front: Front, servers: Servers) -> None:
    first, second, copied = servers(), servers(), servers()
    applied(
        front, live(first), live(second, 1, "v2"), shadow(copied, 5000), sticky_header="X-Session"
    )
    for user in range(8):
        found = {front.ask(headers={"X-Session": f"u{user}"})[1]["replica"] for _ in range(12)}
        assert len(found) == 1
    wait_until(lambda: copied.begun() > 8)


def test_who_has_no_key_is_never_seen_by_the_mirror(front: Front, servers: Servers) -> None:
    first, copied = servers(), servers()
    keys = Keys(key_digest_of(KEY), key_digest_of("s" * 40))
    applied(front, live(first), shadow(copied), keys=keys)
    for _ in range(20):
        assert front.ask(headers={"inferry-copy": "v9"})[0] == 401
    status, document = front.ask(headers={"Authorization": f"Bearer {KEY}"})
    assert status == 200
    assert "authorization" not in document["headers"]
    assert "inferry-copy" not in document["headers"]
    wait_until(lambda: copied.begun() == 1)
    assert counted(front).copied + sum(counted(front).dropped.values()) <= 1


def test_a_client_cannot_ask_for_a_copy_nor_for_a_shadow(front: Front, servers: Servers) -> None:
    first, copied = servers(), servers()
    applied(front, live(first), shadow(copied, 1))
    for _ in range(30):
        status, document = front.ask("/other", headers={"inferry-copy": "v9"})
        assert (status, document["replica"]) == (200, first.port)
        assert "inferry-copy" not in document["headers"]
    assert copied.begun() == 0


def test_what_is_no_scoring_request_is_not_copied(front: Front, servers: Servers) -> None:
    first, copied = servers(), servers()
    applied(front, live(first), shadow(copied))
    for path in ("/", "/v2/models/m", "/scores", "/x/score"):
        assert front.ask(path)[0] == 200
    for path in ("/score?a=b", "/v2/models/m/infer", "/v2/models/m/versions/1/infer"):
        assert front.ask(path)[0] == 200
    wait_until(lambda: copied.begun() == 3)


def test_a_killed_mirror_costs_what_it_had_and_is_started_again(
    front: Front, servers: Servers
) -> None:
    first, copied = servers(), servers()
    versions = live(first), shadow(copied)
    applied(front, *versions)
    with Load(front.port) as load:
        load.wait_for(200)
        assert load.failed() == []
        before = mirror_of(front)
        os.kill(before, signal.SIGKILL)
        load.wait_for(300)  # HAProxy goes straight to the replicas
        lost = len(load.failed())
        wait_until(lambda: front.apply(*versions) == "nothing" and mirror_of(front) != before)
        wait_until(lambda: is_up(front))
        seen = copied.begun()
        load.wait(lambda: copied.begun() > seen)
    assert len(load.failed()) == lost
    assert lost <= 4 * 8  # connections


def test_a_mirror_that_hangs_is_gone_round(front: Front, servers: Servers) -> None:
    first, copied = servers(), servers()
    applied(front, live(first), shadow(copied))
    front.ask()
    pid = mirror_of(front)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: not is_up(front))
        began_s = time.monotonic()
        for _ in range(20):
            assert front.ask()[0] == 200
        assert time.monotonic() - began_s < 20
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: is_up(front))


def test_a_shadow_without_replicas_takes_no_requests_of_clients(
    front: Front, servers: Servers
) -> None:
    first = servers()
    applied(front, live(first), Version("v9", 0, (), copies=10_000))
    for _ in range(10):
        assert front.ask()[1]["replica"] == first.port
    wait_until(lambda: counted(front).dropped.get("absent") == 10)
    assert first.begun() == 10  # none of the copies came here
    # Nor where the shadow is all that is up: a client's request waits.
    gone = Replica("127.0.0.1", free_port())
    other = servers()
    front.apply(
        Version("v1", 1, (gone,)),
        Version("v9", 0, (other.replica,), copies=10_000),
        limits=Limits(hold_s=1.5, queue_s=10),
    )
    lane = lane_name("a", 1)
    wait_until(
        lambda: any(
            one.backend == lane and one.is_up
            for one in front.balancer.keeper.apis()[0].stats().servers
        )
    )
    wait_until(lambda: front.ask()[0] == 503)  # the process before took its last connection
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(front.ask)
        wait_until(lambda: front.balancer.services()["a"].held == 1)  # so that it is scaled up
        assert waiting.result()[0] == 503
    assert other.begun() == 0


def test_a_dead_shadow_is_nobodys_trouble(front: Front, servers: Servers) -> None:
    first, copied = servers(), servers()
    applied(front, live(first), shadow(copied))
    with Load(front.port) as load:
        load.wait_for(100)
        copied.kill()
        load.wait_for(300)
    assert load.failed() == []
    wait_until(lambda: counted(front).dropped.get("absent", 0) > 0)


def test_who_goes_away_is_not_worked_for(front: Front, servers: Servers) -> None:
    first, copied = servers(), servers()
    held = Version("v1", 1, (first.replica,))
    for versions in ((held,), (held, shadow(copied))):
        applied(front, *versions)
        before = first.begun()
        with contextlib.closing(socket.create_connection(("127.0.0.1", front.port))) as link:
            link.sendall(b"POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            wait_until(lambda before=before: first.begun() > before)  # type: ignore[misc]
        state = front.balancer.services
        wait_until(
            lambda: state()["a"].versions[0].replicas[0].in_flight == 0  # noqa: B023
        )


def test_a_second_controller_finds_the_mirror(front: Front, servers: Servers) -> None:
    first, copied = servers(), servers()
    versions = live(first), shadow(copied)
    applied(front, *versions)
    pid = mirror_of(front)
    place = front.balancer.keeper.folder
    front.balancer.__exit__(None, None, None)
    service = Service("a", front.port, versions=versions, limits=Limits(hold_s=10, queue_s=10))
    try:
        assert front.ask()[0] == 200
        wait_until(lambda: copied.begun() == 1)
        with MirroredBalancer(place) as second:
            assert second.apply(Balance((service,), threads=2)).how == "nothing"
            assert second.mirrors.pid("a") == pid
    finally:
        front.balancer.__enter__()
