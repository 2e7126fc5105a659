"""Hooks of a deployment, tick by tick on a host without processes, and with a held request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from edge.hosts.processes import ProcessHost
from registry import Workspace
from registry.deployments import Autoscale, Hooks, ServiceSettings
from runtime.balance.balancer import Balancer
from runtime.controller_service.pages import Pages
from runtime.deployments.controller import Controller
from runtime.deployments.memory import read_memory
from runtime.deployments.place import Place, ReplicaUnits
from runtime.deployments.stock import WorkspaceStock
from runtime.deployments.unit import ReplicaUnit
from runtime.hooks.listener import listener_of
from tests.runtime.deployments.controlled import removed
from tests.runtime.deployments.fake_host import FakeHost, fake_host
from tests.runtime.deployments.test_unit import SERVICE, SETTINGS, Ticking
from tests.runtime.deployments.test_unit import made as made  # a fixture
from tests.runtime.deployments.waiting import eventually, score, state, url_port
from tests.runtime.hooks.receivers import Got, Receiver, Say, receiving


def scaled(made: Workspace, replicas: int, url: str, timeout_s: float = 30.0) -> None:
    service = msgspec.structs.replace(
        SERVICE,
        least_replicas=replicas,
        most_replicas=replicas,
        hooks=Hooks(before_webhook=url, after_webhook=url, timeout_s=timeout_s),
    )
    made.deployments.update("web", service=service, actor="a")


@contextmanager
def ticking(made: Workspace, host: FakeHost) -> Iterator[Ticking]:
    listener = listener_of(made.deployments, lambda line: None)("web")
    unit = ReplicaUnit("web", made.deployments, host, listener=listener)
    try:
        yield Ticking(unit)
    finally:
        unit.close(1.0)


def told(receiver: Receiver) -> list[tuple[str, str, int]]:
    documents = [json.loads(got.body) for got in receiver.got]
    return [(each["moment"], each["change"], each["to_replicas"]) for each in documents]


def test_a_change_that_is_put_off_is_the_cause_and_comes_later(made: Workspace) -> None:
    later = Say(409, b"a backup runs", {"Retry-After": "1"})
    with receiving(later, Say()) as receiver, fake_host() as host, ticking(made, host) as web:
        web.until(lambda: web.states() == ["ready"] * 2)
        scaled(made, 3, receiver.url)
        web.until(lambda: "put off by the hook before it: a backup runs" in web.unit.shown)
        assert web.states() == ["ready"] * 2
        observed = made.deployments.get("web").observed
        assert observed is not None
        (note,) = read_memory(observed.memory).hooks
        assert (note.moment, note.result, note.said) == ("before", "not_now", "a backup runs")
        web.until(lambda: web.states() == ["ready"] * 3)
        web.until(lambda: len(receiver.got) == 3)
        first, *rest = told(receiver)
        assert (first[0], {each[1] for each in rest}) == ("before", {first[1]})
        assert [each[0] for each in rest] == ["before", "after"]
        assert "put off" not in web.unit.shown
        assert web.unit.figures.changes.begun == {("declared", "up"): 1}


def test_who_takes_back_what_is_put_off_gets_nothing_of_it(made: Workspace) -> None:
    with receiving(Say(409), Say(200)) as receiver, fake_host() as host, ticking(made, host) as web:
        web.until(lambda: web.states() == ["ready"] * 2)
        scaled(made, 3, receiver.url)
        web.until(lambda: "put off" in web.unit.shown)
        scaled(made, 2, receiver.url)
        web.until(lambda: len(receiver.got) == 2)
        for _ in range(20):
            web.tick()
        before, after = [json.loads(got.body) for got in receiver.got]
        assert (before["moment"], after["moment"]) == ("before", "after")
        assert (after["change"], after["outcome"]) == (before["change"], "replaced")
        assert (web.unit.shown, web.states()) == ("running", ["ready"] * 2)
        assert len(host.started) == 2


def test_a_controller_that_ended_in_mid_hook_is_followed_by_one_that_asks_anew(
    made: Workspace,
) -> None:
    is_over = threading.Event()

    def decide(got: Got) -> Say:
        first.append(got)
        assert is_over.wait(60)
        return Say()

    first: list[Got] = []
    with fake_host() as host:
        with receiving(decide=decide) as silent, ticking(made, host) as web:
            web.until(lambda: web.states() == ["ready"] * 2)
            scaled(made, 3, silent.url)
            web.until(lambda: len(first) == 1)
            is_over.set()  # as kill -9 has it: nobody hears the answer
        with receiving() as receiver, ticking(made, host) as web:
            scaled(made, 3, receiver.url)
            web.until(lambda: web.states() == ["ready"] * 3)
            web.until(lambda: len(receiver.got) == 2)
            before, after = told(receiver)
            assert (before[0], after[0], before[1]) == ("before", "after", after[1])
            assert before[1] != json.loads(first[0].body)["change"]


def test_what_came_of_hooks_outlives_the_controller(made: Workspace) -> None:
    with fake_host() as host, receiving(Say(404)) as receiver:
        with ticking(made, host) as web:
            web.until(lambda: web.states() == ["ready"] * 2)
            scaled(made, 3, receiver.url)
            web.until(lambda: len(receiver.got) == 2 and web.states() == ["ready"] * 3)
            web.until(lambda: len(kept(made)) == 2)
            before = kept(made)
        with ticking(made, host) as web:
            web.until(lambda: web.states() == ["ready"] * 3)
            assert kept(made) == before
    assert {each[2] for each in before} == {"failed"}


def kept(made: Workspace) -> list[tuple[str, str, str]]:
    observed = made.deployments.get("web").observed
    assert observed is not None
    return [(n.moment, n.kind, n.result) for n in read_memory(observed.memory).hooks]


def test_a_receiver_that_never_answers_delays_a_change_and_stops_nothing(made: Workspace) -> None:
    is_over = threading.Event()

    def decide(got: Got) -> Say:
        is_over.wait(60)
        return Say()

    with fake_host() as host, receiving(decide=decide) as silent, ticking(made, host) as web:
        web.until(lambda: web.states() == ["ready"] * 2)
        scaled(made, 3, silent.url, timeout_s=0.3)
        began_s = time.monotonic()
        web.until(lambda: web.states() == ["ready"] * 3)
        assert time.monotonic() - began_s > 0.3
        is_over.set()


def test_the_end_of_a_deployment_waits_for_no_hook(made: Workspace) -> None:
    with fake_host() as host, receiving(Say(409)) as receiver, ticking(made, host) as web:
        web.until(lambda: web.states() == ["ready"] * 2)
        scaled(made, 3, receiver.url)
        web.until(lambda: "put off" in web.unit.shown)
        made.deployments.delete("web", actor="a")
        web.until(lambda: web.unit.is_gone)


@pytest.mark.slow
def test_a_held_request_waits_for_no_hook(made: Workspace, folder: Path, tmp_path: Path) -> None:
    """The hook before it hangs for longer than anybody would wait."""
    is_over, hanging = threading.Event(), list[Got]()

    def decide(got: Got) -> Say:
        document = json.loads(got.body)
        if document["moment"] == "before" and document["from_replicas"] == 0:
            hanging.append(got)
            is_over.wait(120)
        return Say()

    host = ProcessHost(made.root / "deployments" / "processes", WorkspaceStock(made.root))
    units = ReplicaUnits(
        deployments=made.deployments,
        place_of=lambda target: Place(host),
        listener_of=listener_of(made.deployments, lambda line: None),
    )
    with (
        receiving(decide=decide) as receiver,
        removed(made, host, folder),
        Controller(made, Balancer(folder), units, tick_s=0.1) as controller,
    ):
        service = ServiceSettings(
            least_replicas=0,
            most_replicas=2,
            autoscale=Autoscale(zero_after_s=1.0, down_after_s=0.5),
            hooks=Hooks(before_webhook=receiver.url, timeout_s=100.0),
        )
        made.deployments.delete("web", actor="a")
        made.deployments.forget("web")
        made.deployments.create("web", "adder:1", service=service, settings=SETTINGS, actor="a")
        thread = threading.Thread(target=controller.run)
        thread.start()
        try:
            port = url_port(eventually(lambda: state(made, "running")))
            eventually(lambda: not host.list())
            began_s = time.monotonic()
            assert score("127.0.0.1", port, [[1, 2, 3]])["y"][0][0] == 2
            assert time.monotonic() - began_s < 60
            eventually(lambda: hanging)
            pages = Pages(made.deployments, controller.figures)
            line = 'scale_changes_total{cause="awake",deployment="web",direction="up"} 1.0'
            eventually(lambda: line in pages.page("/metrics").body.decode())
            assert pages.page("/healthz").status == 200
        finally:
            is_over.set()
            controller.stop()
            thread.join(60)
