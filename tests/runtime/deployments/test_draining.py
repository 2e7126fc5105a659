"""When a replica that gets nothing more has finished."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.balance.balancer import ReplicaState, ServiceState, VersionState
from runtime.balance.declared import Replica
from runtime.balance.states import Admin, Server
from runtime.deployments.draining import DRAIN_S, is_idle
from runtime.deployments.leaving import Leaver

LEAVER = Leaver("web.1.a", 1, "127.0.0.1", 8001, 100.0, is_stopping=False, trouble=None)


def server(admin: Admin, in_flight: int) -> Server:
    return Server(
        "web.0", "s1", "127.0.0.1", 8001, admin, True, 1, 0, in_flight, 0, 9, 0, 0, 0, 0, 0, ""
    )  # fmt: skip


def balanced(admin: Admin, in_flight: int, port: int = 8001) -> ServiceState:
    replica = Replica("127.0.0.1", port, is_draining=True)
    state = ReplicaState(replica, server(admin, in_flight), in_flight)
    return ServiceState("web", (VersionState("r1", (state,), 0),), 0, 9)


@pytest.mark.parametrize(
    ("admin", "in_flight", "idle"),
    [("ready", 0, False), ("drain", 1, False), ("drain", 0, True), ("maintenance", 0, True)],
)
def test_it_has_finished_when_it_was_told_and_nothing_is_left(
    admin: Admin, in_flight: int, idle: bool
) -> None:
    assert is_idle(LEAVER, balanced(admin, in_flight), 100.1, is_withdrawn=False) is idle


def test_it_is_not_waited_for_for_ever() -> None:
    seen = balanced("drain", 1)
    assert not is_idle(LEAVER, seen, 100.0 + DRAIN_S - 0.1, is_withdrawn=False)
    assert is_idle(LEAVER, seen, 100.0 + DRAIN_S, is_withdrawn=False)


def test_one_that_answers_nowhere_has_nothing_left() -> None:
    assert is_idle(replace(LEAVER, port=None), balanced("ready", 5), 100.0, is_withdrawn=False)


def test_one_that_the_balancer_does_not_know_any_more_has_a_moment() -> None:
    seen = balanced("ready", 3, port=8002)
    assert not is_idle(LEAVER, seen, 100.5, is_withdrawn=False)
    assert is_idle(LEAVER, seen, 101.5, is_withdrawn=False)


def test_while_the_balancer_is_away_only_the_time_tells() -> None:
    assert not is_idle(LEAVER, None, 110.0, is_withdrawn=False)
    assert not is_idle(LEAVER, None, 100.5, is_withdrawn=True)
    assert is_idle(LEAVER, None, 110.0, is_withdrawn=True)
