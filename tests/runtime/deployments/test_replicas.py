"""Replicas as real processes: started, found again by another controller, kept, removed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from edge.hosts.port import Instance
from edge.hosts.processes import ProcessHost
from registry import Workspace
from registry.deployments import Health, Revision, RevisionSettings
from runtime.deployments.instances import instance_of
from runtime.deployments.replica_id import revision_of
from runtime.deployments.replicas import Replicas
from tests.runtime.deployments.waiting import eventually, score

pytestmark = pytest.mark.slow
HEALTH = Health(start_s=60.0, interval_s=0.1, failures=3)


def revision(made: Workspace, number: int) -> Revision:
    image = made.images.get(f"adder:{number}")
    assert image.digest is not None
    return Revision(number, image.reference, image.digest, RevisionSettings(), "", "")


@contextmanager
def kept(host: ProcessHost) -> Iterator[Replicas]:
    replicas = Replicas("web", host)
    try:
        yield replicas
    finally:
        for seen in replicas.seen():
            replicas.drain(seen.id, 0.0)
            replicas.stop(seen.id, 1.0)
        replicas.close(20.0)


def is_ready(replicas: Replicas, count: int) -> bool:
    return sum(seen.state == "ready" for seen in replicas.seen()) == count


def test_they_answer_come_back_when_killed_and_are_found_by_the_next(
    made: Workspace, host: ProcessHost
) -> None:
    first = revision(made, 1)
    host.prepare(first.digest, lambda: False)
    with kept(host) as replicas:
        for _ in range(2):
            replicas.start(1, instance_of(first), HEALTH)
        eventually(lambda: is_ready(replicas, 2))
        for _, address, port in replicas.addresses().values():
            assert score(address, port, [[1, 2, 3]]) == {"y": [[2, 3, 4]]}

        replicas.close()  # this controller ends, what runs goes on

        def describe(number: int) -> tuple[Instance, Health]:
            return instance_of({1: first}[number]), HEALTH

        with kept(host) as others:
            assert others.adopt(describe) == []
            assert {s.id for s in others.seen()} == {s.id for s in replicas.seen()}
            eventually(lambda: is_ready(others, 2))
            before = others.addresses()
            assert before == replicas.addresses()  # it did not start them anew

            victim = others.seen()[0].id
            os.kill(_pid(host, victim), signal.SIGKILL)
            eventually(lambda: _pid(host, victim) and others.records()[0].cause)
            eventually(lambda: is_ready(others, 2))

            others.drain(victim, 0.0)
            assert {s.id: s.state for s in others.seen()}[victim] == "draining"
            assert victim in others.addresses()
            others.stop(victim, 5.0)
            assert {s.id: s.state for s in others.seen()}[victim] == "stopping"
            assert victim not in others.addresses()
            eventually(lambda: victim not in {s.id for s in others.seen()})
            assert victim not in [str(each.id.module) for each in host.list()]


def test_one_that_cannot_start_says_why(made: Workspace, host: ProcessHost) -> None:
    first = revision(made, 1)
    host.prepare(first.digest, lambda: False)
    broken = instance_of(first)
    with kept(host) as replicas:
        replicas.start(1, replace(broken, args=("--no-such-flag",)), HEALTH)
        said = eventually(lambda: replicas.trouble(1)) or ""
        assert "exit code 2" in said
        assert "--no-such-flag" in said
        (record,) = replicas.records()
        assert record.state == "starting"
        assert "--no-such-flag" in record.log


def test_one_of_an_unknown_revision_is_stopped(made: Workspace, host: ProcessHost) -> None:
    first = revision(made, 1)
    host.prepare(first.digest, lambda: False)
    with kept(host) as replicas:
        id = replicas.start(1, instance_of(first), HEALTH)
        eventually(lambda: is_ready(replicas, 1))
        replicas.close()

        def describe(number: int) -> tuple[Instance, Health]:
            raise KeyError(number)

        with kept(host) as others:
            assert others.adopt(describe) == [id]
            assert [each.state for each in others.seen()] == ["draining"]
        assert list(host.list()) == []
        assert Replicas("other", host).adopt(describe) == []


def test_ids_are_of_one_deployment_only() -> None:
    assert revision_of("web", "web.12.a1b2c3") == 12
    assert revision_of("web", "web-2.12.a1b2c3") is None
    assert revision_of("web", "web") is None
    assert revision_of("web", "web.0.a") is None


def _pid(host: ProcessHost, id: str) -> int:
    from edge.hosts.port import InstanceId

    record = host._run(InstanceId(id, "live")).record()
    return 0 if record is None else record.pid
