"""Requests through a real HAProxy while replicas, shares, keys and HAProxy itself change."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from runtime.balance import Health, Keys, Limits, Replica, Version, key_digest_of
from tests.runtime.balance.conftest import Front, Server, Servers, one_version
from tests.runtime.balance.load import Load, Result, wait_until

pytestmark = pytest.mark.slow

KEY = "k" * 40
HEARD_S = 0.3
"""Until HAProxy has heard of the end of a connection, on a busy machine."""


def ids(results: list[Result]) -> set[str]:
    return {result.id for result in results}


def killed(kill: Callable[[], object]) -> Callable[[Load], set[str]]:
    """Tells which requests were in flight then. Whoever was killed may have begun them: nobody can
    know that of a request which has been sent, be it on a connection whose end was under way."""
    before_s = time.monotonic()
    kill()
    after_s = time.monotonic() + HEARD_S

    def in_flight(load: Load) -> set[str]:
        return ids([r for r in load.results if r.sent_s <= after_s and r.ended_s >= before_s])

    return in_flight


def test_a_killed_replica_costs_only_what_it_had_begun(front: Front, servers: Servers) -> None:
    first, second = servers(), servers()
    front.apply(one_version(first, second))
    with Load(front.port, path="/wait/0.005") as load:
        load.wait_for(100)
        assert {result.replica for result in load.results} == {first.port, second.port}
        in_flight = killed(first.kill)
        killed_s = time.monotonic()
        load.wait_for(200)
    assert ids(load.failed()) <= in_flight(load)
    served = [r.ended_s for r in load.results if r.status == 200 and r.sent_s > killed_s]
    assert served[0] - killed_s <= 1


def test_a_replica_that_hangs_gets_nothing_more(front: Front, servers: Servers) -> None:
    first, second = servers(), servers()
    front.apply(one_version(first, second))
    with Load(front.port) as load:
        load.wait_for(50)
        first.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: not replica_is_up(front, first))
        down_s = time.monotonic()
        wait_until(lambda: front.ask()[1]["replica"] == second.port)
        assert {front.ask()[1]["replica"] for _ in range(10)} == {second.port}
        first.process.send_signal(signal.SIGCONT)
        load.wait(lambda: any(r.replica == first.port and r.sent_s > down_s for r in load.results))
    assert load.failed() == []


def test_what_may_be_run_twice_survives_a_killed_replica(front: Front, servers: Servers) -> None:
    first, second = servers(), servers()
    front.apply(one_version(first, second), is_repeatable=True)
    with Load(front.port, path="/wait/0.005") as load:
        load.wait_for(100)
        first.kill()
        load.wait_for(200)
    assert load.failed() == []
    begun = first.started() & second.started()
    assert begun <= {result.id for result in load.results}


def test_the_last_replica_may_die_and_come_again(front: Front, servers: Servers) -> None:
    """What it had not begun waits for it."""
    only = servers()
    front.apply(one_version(only))
    with Load(front.port, connections=4) as load:
        load.wait_for(50)
        in_flight = killed(only.kill)
        wait_until(lambda: front.balancer.services()["a"].held == 4)
        servers(only.port)
        load.wait_for(50)
    assert ids(load.failed()) <= in_flight(load)


def test_a_request_for_a_service_without_replicas_is_held(front: Front, servers: Servers) -> None:
    server = servers()
    front.apply(Version("v1", 1))
    with Load(front.port, connections=5) as load:
        wait_until(lambda: front.balancer.services()["a"].held == 5)
        assert front.apply(one_version(server)) == "commands"
        load.wait_for(50)
        assert front.balancer.services()["a"].held == 0
    assert load.failed() == []


def test_a_request_that_nobody_takes_is_refused_in_time(front: Front) -> None:
    front.apply(Version("v1", 1), limits=Limits(hold_s=0.2))
    began_s = time.monotonic()
    assert front.ask(headers={"inferry-hold-until": "99999999999999"}) == (
        503,
        {"error": "no replica is there"},
    )
    assert 0.2 <= time.monotonic() - began_s < 10


def test_a_version_whose_replicas_are_gone_leaves_its_requests_to_the_others(
    front: Front, servers: Servers
) -> None:
    live, canary = servers(), servers()
    front.apply(one_version(live), one_version(canary, name="v2"))
    canary.kill()
    assert {front.ask()[0] for _ in range(30)} == {200}


def test_shares_split_the_requests(front: Front, servers: Servers) -> None:
    old, new = servers(), servers()
    front.apply(one_version(old, share=90), one_version(new, name="v2", share=10))

    def of_1000() -> int:
        with Load(front.port) as load:
            load.wait_for(1000)
        assert load.failed() == []
        return Counter(result.replica for result in load.results[:1000])[new.port]

    assert 100 - 6 * 9.5 < of_1000() < 100 + 6 * 9.5  # six standard deviations
    assert front.apply(one_version(old, share=1), one_version(new, name="v2", share=3)) == (
        "commands"
    )
    assert 750 - 6 * 13.7 < of_1000() < 750 + 6 * 13.7
    front.apply(one_version(old, share=0), one_version(new, name="v2"))
    assert of_1000() == 1000


def test_a_header_value_keeps_its_version_and_replica(front: Front, servers: Servers) -> None:
    old, new = [servers(), servers()], servers()
    patient = Health(timeout_s=10, fall=20)  # who is only slow stays where he is
    sticky: dict[str, Any] = {"sticky_header": "X-Session", "health": patient}
    front.apply(one_version(*old, share=50), one_version(new, name="v2", share=50), **sticky)

    def places() -> dict[str, int]:
        return {f"u{n}": front.ask(headers={"X-Session": f"u{n}"})[1]["replica"] for n in range(60)}

    before = places()
    assert set(before.values()) == {old[0].port, old[1].port, new.port}
    assert places() == before
    front.apply(one_version(*old, share=30), one_version(new, name="v2", share=70), **sticky)
    after = places()
    moved = {user for user in before if before[user] != after[user]}
    assert 0 < len(moved) < 30
    assert {after[user] for user in moved} == {new.port}
    old[0].kill()
    wait_until(lambda: not replica_is_up(front, old[0]))
    gone = {user: place for user, place in places().items() if place != after[user]}
    assert {after[user] for user in gone} == {old[0].port}
    assert front.ask()[0] == 200  # and without the header


def replica_is_up(front: Front, server: Server) -> bool:
    for version in front.balancer.services()["a"].versions:
        for one in version.replicas:
            if one.replica.place == server.replica.place:
                return one.server.is_up
    return False


def test_a_drained_replica_finishes_and_may_end(front: Front, servers: Servers) -> None:
    staying, leaving = servers(), servers()
    front.apply(one_version(staying, leaving))
    with Load(front.port, path="/wait/0.02") as load:
        load.wait_for(50)
        draining = replace(leaving.replica, is_draining=True)
        front.apply(Version("v1", 1, (staying.replica, draining)))
        wait_until(lambda: front.balancer.is_idle("a", leaving.replica))
        quiet = leaving.started()
        load.wait_for(50)
        assert leaving.started() == quiet
        leaving.kill()
        front.apply(one_version(staying))
        load.wait_for(50)
    assert load.failed() == []


def test_rolling_updates_lose_nothing_and_need_no_reload(front: Front, servers: Servers) -> None:
    old = servers()
    front.apply(one_version(old))
    pid = front.balancer.keeper.pid
    with Load(front.port, path="/wait/0.002") as load:
        for number in range(2, 8):
            new = servers()
            before = one_version(old, name=f"v{number - 1}")
            after = one_version(new, name=f"v{number}")
            front.apply(before, replace(after, share=0))
            front.apply(before, after)
            load.wait_for(20)
            front.apply(replace(before, share=0), after)
            front.apply(after)
            wait_until(lambda one=old: front.balancer.is_idle("a", one.replica))  # type: ignore[misc]
            old.kill()
            old = new
            load.wait_for(20)
    assert load.failed() == []
    assert front.balancer.keeper.pid == pid


def test_a_reload_under_load_loses_nothing(front: Front, servers: Servers) -> None:
    server = servers()
    front.apply(one_version(server))
    with Load(front.port, path="/wait/0.002") as load:
        for queue in range(10, 14):
            load.wait_for(50)
            limits = Limits(queue=queue, hold_s=10)
            assert front.apply(one_version(server), limits=limits) == "reloaded"
        load.wait_for(50)
    assert load.failed() == []
    assert front.balancer.keeper.wait_finished(10)


def test_new_connections_during_a_reload_are_answered(front: Front, servers: Servers) -> None:
    server = servers()
    front.apply(one_version(server))
    statuses: list[int] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            statuses.append(front.ask()[0])

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for queue in range(10, 13):
            front.apply(one_version(server), limits=Limits(queue=queue, hold_s=10))
    finally:
        done.set()
        asking.join()
    assert len(statuses) > 20
    assert set(statuses) == {200}


def test_a_killed_haproxy_refuses_nobody(front: Front, servers: Servers) -> None:
    server = servers()
    front.apply(one_version(server))
    with Load(front.port) as load:
        load.wait_for(50)
        pid = front.balancer.keeper.pid
        worker = front.balancer.keeper.apis()[0].info().pid
        killed_s = time.monotonic()
        end(worker)
        load.wait_for(100)
    # Each connection that there was ended once; whoever came then waited.
    ended = [result.id.partition("-")[0] for result in load.failed()]
    assert len(ended) == len(set(ended))
    served = [r.ended_s for r in load.results if r.status == 200 and r.sent_s > killed_s]
    assert served[0] - killed_s < 10
    assert front.balancer.keeper.pid != pid
    assert "started again" in front.told[0]
    assert front.apply(one_version(server)) == "nothing"


def end(pid: int) -> None:
    """At once; returns when it has ended."""
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([descriptor], [], [], 5)
    os.close(descriptor)


def test_a_request_that_waits_goes_on_when_haproxy_is_reloaded(
    front: Front, servers: Servers
) -> None:
    server = servers()
    front.apply(one_version(server))
    found: list[tuple[int, dict[str, object]]] = []
    asking = threading.Thread(target=lambda: found.append(front.ask("/hold")))
    asking.start()
    wait_until(lambda: bool(server.started()))
    front.apply(one_version(server), limits=Limits(queue=7))
    server.release()
    asking.join()
    assert found[0][0] == 200


def keys(primary: str, secondary: str) -> dict[str, Keys]:
    return {"keys": Keys(key_digest_of(primary), key_digest_of(secondary))}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_only_the_two_keys_open_a_service(front: Front, servers: Servers) -> None:
    server = servers()
    other = "o" * 40
    front.apply(one_version(server), **keys(KEY, other))
    for right in (KEY, other):
        status, said = front.ask(headers=bearer(right))
        assert status == 200
        assert "authorization" not in said["headers"]
    wrong: list[dict[str, str]] = [
        {},
        bearer("x" * 40),
        bearer(KEY[:-1]),
        bearer(KEY + "k"),
        bearer(""),
        bearer(key_digest_of(KEY)),
        bearer(key_digest_of(KEY).upper()),
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": ""},
    ]
    for headers in wrong:
        status, said = front.ask(headers=headers)
        assert status == 401, headers
        assert "key" in said["error"]
    folder = front.balancer.keeper.folder
    for path in folder.rglob("*"):
        if path.is_file():
            assert KEY not in path.read_text(), path


def test_keys_are_renewed_under_load(front: Front, servers: Servers) -> None:
    server = servers()
    used = ["a" * 40, "b" * 40]
    front.apply(one_version(server), **keys(*used))
    with Load(front.port, headers=lambda: bearer(used[1])) as load:
        for number in range(8):
            load.wait_for(20)
            used[0] = f"{number}" * 40
            assert front.apply(one_version(server), **keys(*used)) == "commands"
            used.reverse()
        load.wait_for(20)
    assert load.failed() == []
    assert front.ask(headers=bearer("a" * 40))[0] == 401


def test_a_key_withdrawn_right_after_a_reload_opens_no_older_process(
    front: Front, servers: Servers
) -> None:
    server = servers()
    old = "o" * 40
    front.apply(one_version(server), **keys(KEY, old))
    with Load(front.port, connections=1, headers=lambda: bearer(old)) as load:
        load.wait_for(10)
    options = {"limits": Limits(queue=9)}
    asking = threading.Thread(target=lambda: front.ask("/hold", bearer(KEY)))
    asking.start()  # keeps the older process
    wait_until(lambda: "-" in server.started())
    front.apply(one_version(server), **keys(KEY, old), **options)
    assert len(front.balancer.keeper.apis()) == 2
    front.apply(one_version(server), **keys(KEY, "n" * 40), **options)
    for api in front.balancer.keeper.apis():
        digests = {digest for digest, _ in api.map_entries("maps/a.keys")}
        assert key_digest_of(old).upper() not in digests
    server.release()
    asking.join()


def test_too_many_waiting_requests_are_refused(front: Front, servers: Servers) -> None:
    server = servers()
    version = Version("v1", 1, (server.replica,), max_requests=1)
    front.apply(version, limits=Limits(queue=2, hold_s=1))
    with Load(front.port, connections=6, path="/wait/0.1") as load:
        load.wait_for(20)
    assert {result.status for result in load.results} == {200, 429}


def test_the_number_of_requests_of_a_replica_changes_without_a_reload(
    front: Front, servers: Servers
) -> None:
    server = servers()
    version = Version("v1", 1, (server.replica,), max_requests=1)
    front.apply(version)
    with Load(front.port, connections=4, path="/wait/0.05") as load:
        wait_until(lambda: front.balancer.services()["a"].versions[0].waiting == 3)
        assert front.apply(replace(version, max_requests=0)) == "commands"
        wait_until(lambda: front.balancer.services()["a"].versions[0].replicas[0].in_flight == 4)
    assert load.failed() == []


def test_a_replica_that_is_not_ready_gets_nothing_even_after_a_reload(
    front: Front, servers: Servers
) -> None:
    good, bad = servers(), servers()
    front.apply(one_version(good, bad))
    bad.set_ready(False)
    wait_until(lambda: not replica_is_up(front, bad))
    before = bad.started()
    front.apply(one_version(good, bad), limits=Limits(queue=5))
    assert {front.ask()[1]["replica"] for _ in range(10)} == {good.port}
    assert bad.started() == before
    bad.set_ready(True)
    wait_until(lambda: replica_is_up(front, bad))


def test_a_version_in_the_place_of_another_gets_its_own_requests_only(
    front: Front, servers: Servers
) -> None:
    """The replicas of all run on; connections to them are open, and some have a request."""
    every = [servers(), servers(), servers()]
    front.apply(one_version(every[0]))
    with Load(front.port, connections=3, path="/wait/0.01") as load:
        for number in range(2, 10):  # there are four lanes
            load.wait_for(6)
            now = every[number % 3]
            front.apply(one_version(now, name=f"v{number}"))
            quiet = time.monotonic()
            load.wait_for(20)
            later = [result for result in load.results if result.sent_s > quiet]
            assert {result.replica for result in later} == {now.port}
    assert load.failed() == []


def test_weights_of_replicas_count(front: Front, servers: Servers) -> None:
    strong, weak = servers(), servers()
    both = (replace(strong.replica, weight=200), replace(weak.replica, weight=50))
    front.apply(Version("v1", 1, both))
    with Load(front.port, connections=10, path="/wait/0.01") as load:
        load.wait_for(400)
    counts = Counter(result.replica for result in load.results)
    assert 2 < counts[strong.port] / counts[weak.port] < 8


def test_many_replicas_get_more_slots(front: Front, servers: Servers) -> None:
    server = servers()
    front.apply(one_version(server))
    dead = tuple(Replica("127.0.0.9", 20_000 + n) for n in range(20))
    assert front.apply(Version("v1", 1, (server.replica, *dead))) == "reloaded"
    assert front.ask()[0] == 200
    assert front.apply(one_version(server)) == "commands"
    assert front.ask()[0] == 200


def test_who_kept_a_connection_over_a_reload_holds_up_no_change(
    front: Front, servers: Servers
) -> None:
    first, second = servers(), servers()
    front.apply(one_version(first))
    link = http.client.HTTPConnection("127.0.0.1", front.port, timeout=15)
    with contextlib.closing(link):
        link.request("POST", "/score", b"[1]")
        link.getresponse().read()
        limits = Limits(hold_s=9, queue_s=9)
        assert front.apply(one_version(first), limits=limits) == "reloaded"
        assert len(front.balancer.keeper.apis()) == 2  # the older one waits for that connection
        assert front.apply(one_version(first, second), limits=limits) == "commands"
        assert front.apply(one_version(second), limits=limits) == "commands"
        link.request("POST", "/score", b"[1]")
        assert link.getresponse().status == 200
    assert front.balancer.keeper.wait_finished(10)
    assert front.ask()[1]["replica"] == second.port
