"""Replicas that go: nobody waits for them, and none comes back."""

from __future__ import annotations

import time

from edge.hosts.port import Instance, InstanceId
from edge.keeping.keeper import LiveKeeper
from edge.messages.desired import Probe, Restart
from runtime.deployments.leaving import Leaving
from tests.runtime.deployments.fake_host import FakeHost, fake_host
from tests.runtime.deployments.waiting import eventually

A = "web.1.a"


def running(host: FakeHost, leaving: Leaving) -> None:
    host.start(Instance(InstanceId(A, "live"), "sha256:0"))
    leaving.add(A, 1, address="127.0.0.1", port=1, keeper=None, now_s=5.0)


def is_gone(leaving: Leaving) -> bool:
    leaving.reap()
    return A not in leaving


def test_one_is_routed_no_more_once_it_is_told_to_end_and_seen_until_it_has() -> None:
    with fake_host() as host:
        leaving = Leaving(host)
        running(host, leaving)
        assert leaving.places() == {A: (1, "127.0.0.1", 1)}
        host.may_stop.clear()
        leaving.stop(A, 35.0)  # returns though the host does not
        leaving.stop(A, 35.0)
        assert leaving.places() == {}
        assert [(each.id, each.is_stopping) for each in leaving.all()] == [(A, True)]
        assert not is_gone(leaving)
        host.may_stop.set()
        eventually(lambda: is_gone(leaving))
        assert host.stopping == [A]
        assert list(host.list()) == []


def test_a_host_that_cannot_stop_it_is_asked_again_and_says_why() -> None:
    with fake_host() as host:
        leaving = Leaving(host)
        running(host, leaving)
        host.trouble = "the engine is away"
        leaving.stop(A, 1.0)
        assert eventually(lambda: leaving.all()[0].trouble) == "the engine is away"
        host.trouble = None
        eventually(lambda: is_gone(leaving))


def test_to_close_waits_for_a_time_only_and_what_was_told_to_end_does() -> None:
    with fake_host() as host:
        leaving = Leaving(host)
        running(host, leaving)
        host.may_stop.clear()
        leaving.stop(A, 35.0)
        began_s = time.monotonic()
        leaving.close(0.1)
        assert time.monotonic() - began_s < 10
        assert not is_gone(leaving)
        host.may_stop.set()
        eventually(lambda: is_gone(leaving))


def test_its_keeper_starts_it_no_more() -> None:
    with fake_host() as host:
        leaving = Leaving(host)
        keeper = LiveKeeper(A, host, look_s=0.01)
        keeper.set(
            Instance(InstanceId(A, "live"), "sha256:0"),
            Restart("always", 0.01, 0.01, 1.0),
            Probe("/readyz", 0.01, 1.0, 3, 10.0),
        )
        keeper.open()
        eventually(lambda: keeper.view().health == "healthy")
        leaving.add(A, 1, address="127.0.0.1", port=keeper.view().port, keeper=keeper, now_s=0.0)
        assert keeper.close()
        host.kill(InstanceId(A, "live"))
        leaving.stop(A, 1.0)
        eventually(lambda: is_gone(leaving))
        assert host.started == [A]
        assert list(host.list()) == []
