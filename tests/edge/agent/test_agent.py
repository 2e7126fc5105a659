from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from edge import topics
from edge.agent.agent import Agent
from edge.agent.check import Check
from edge.agent.config import AgentConfig
from edge.agent.modules import MayStart
from edge.agent.state import AgentState
from edge.agent.view import kept_report
from edge.hosts.memory import MemoryHost
from edge.hosts.port import Instance, InstanceId
from edge.messages.codec import decode, encode
from edge.messages.commands import Command, Name, Reply
from tests.edge.agent.devices import make_device
from tests.edge.agent.fakes import FakeLink, parts
from tests.edge.agent.test_commands import wait
from tests.edge.agent.test_modules import FakeUnit, desired, digest, module

QUICK = "[report]\ndebounce_s = 0.05\n"


class Bench:
    """An agent on a bench: its link, its units."""

    def __init__(self, config: AgentConfig, host: MemoryHost | None = None) -> None:
        self.link = FakeLink()
        self.units: dict[str, FakeUnit] = {}
        hosts = [host] if host is not None else []
        self.agent = Agent(config, lambda config, agent: parts(self.link, self._make, hosts))

    def _make(self, name: str, may_start: MayStart) -> FakeUnit:
        self.units[name] = FakeUnit(name, may_start)
        return self.units[name]

    def ask(self, name: Name, **arguments: object) -> Reply:
        id = f"c{len(self.link.sent)}"
        self.link.hear(
            "press-7", topics.COMMAND, encode(Command(1, id, name, 2000, dict(arguments)))
        )
        wait(lambda: any(reply.id == id for reply in self.replies()))
        found = [reply for reply in self.replies() if reply.id == id]
        wait(lambda: found[-1].parts is not None)
        return found[0]

    def replies(self) -> list[Reply]:
        found = [m for m in list(self.link.sent) if m.topic.endswith(topics.REPLY)]
        return [decode(message.payload, Reply) for message in found]

    def close(self) -> None:
        self.agent.stop()


Make = Callable[[], Bench]


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    return make_device(tmp_path, extra=QUICK)


@pytest.fixture
def bench(config: AgentConfig) -> Iterator[Bench]:
    with closing(Bench(config)) as found:
        found.agent.start()
        yield found


def tell(bench: Bench, payload: bytes) -> None:
    bench.link.hear("press-7", topics.DESIRED, payload)


def of_device(version: int, *names: str) -> bytes:
    made = desired(version, *(module(name) for name in names))
    return encode(msgspec.structs.replace(made, device="press-7"))


def test_it_announces_itself_and_reports_at_each_connection(bench: Bench) -> None:
    for count in (1, 2):
        bench.link.connect()
        wait(lambda count=count: len(bench.link.statuses()) == count)  # type: ignore[misc]
        wait(lambda count=count: len(bench.link.reports()) >= count)  # type: ignore[misc]
    birth = bench.link.statuses()[0]
    assert birth.online
    assert birth.epoch == bench.agent.epoch
    assert bench.link.will is not None
    will = decode(bench.link.will.payload, type(birth))
    assert (will.online, will.epoch, bench.link.will.is_retained) == (False, birth.epoch, True)
    assert all(message.is_retained for message in bench.link.sent)
    assert all("mono" in message.properties for message in bench.link.sent)
    assert list(bench.link.subscriptions) == topics.downward_filters("press-7")


def test_it_follows_what_is_desired_and_reports_it(bench: Bench) -> None:
    bench.link.connect()
    tell(bench, of_device(3, "digits"))
    wait(lambda: any(report.applied_version == 3 for report in bench.link.reports()))
    assert [module.name for module in bench.link.reports()[-1].modules] == ["digits"]
    kept = kept_report(bench.agent.config.state)
    assert kept is not None
    assert kept.device == "press-7"


def test_modules_run_again_after_a_restart_without_any_network(
    config: AgentConfig, bench: Bench
) -> None:
    tell(bench, of_device(3, "digits"))
    wait(lambda: "digits" in bench.units)
    bench.agent.stop()
    assert not bench.units["digits"].is_removed
    with closing(Bench(config)) as again:
        again.agent.start()
        wait(lambda: "digits" in again.units and again.units["digits"].wanted == [digest(1)])
        assert not again.link.is_connected
        assert again.agent.epoch > bench.agent.epoch


def test_a_malformed_desired_state_is_reported_and_changes_nothing(bench: Bench) -> None:
    bench.link.connect()
    tell(bench, of_device(3, "digits"))
    tell(bench, b'{"v":1,"device":"press-7","version":4,"modules":[{"name":"../x"}]}')
    wait(lambda: any("refused" in str(report.error) for report in bench.link.reports()))
    last = bench.link.reports()[-1]
    assert (last.desired_version, len(last.modules)) == (3, 1)


def test_commands_are_answered(bench: Bench) -> None:
    bench.link.connect()
    tell(bench, of_device(1, "digits"))
    wait(lambda: "digits" in bench.units)
    assert bench.ask("ping").text == "pong"
    assert bench.ask("logs", module="digits", lines=5).ok
    assert bench.ask("restart", module="digits").text == "restarted digits"
    for wrong in ({"module": "other"}, {"module": 5}, {}, {"module": "digits", "lines": "all"}):
        answer = bench.ask("logs", **wrong)
        assert not answer.ok
        assert answer.error
    assert "no outbox" in bench.ask("telemetry-flush").text


@pytest.mark.slow
def test_it_checks_itself_and_makes_a_support_bundle(bench: Bench) -> None:
    bench.link.connect()
    found = msgspec.json.decode(bench.ask("check").text, type=list[Check])
    assert len(found) >= 15
    assert base64.b64decode(bench.ask("support-bundle").text).startswith(b"\x1f\x8b")


def test_what_an_earlier_agent_left_and_nothing_wants_is_stopped(config: AgentConfig) -> None:
    with closing(MemoryHost({})) as host, closing(AgentState(config.state)) as state:
        state.keep_desired(msgspec.structs.replace(desired(1, module("kept")), device="press-7"))
        for name in ("kept", "left"):
            host.prepare(digest(1), lambda: False)
            host.start(Instance(InstanceId(name, "live"), digest(1)))
        with closing(Bench(config, host)) as bench:
            bench.agent.start()
            wait(lambda: [found.id.module for found in host.list()] == ["kept"])


def test_without_a_desired_state_nothing_that_runs_is_stopped(config: AgentConfig) -> None:
    with closing(MemoryHost({})) as host:
        host.prepare(digest(1), lambda: False)
        host.start(Instance(InstanceId("m", "live"), digest(1)))
        with closing(Bench(config, host)) as bench:
            bench.agent.start()
            bench.link.connect()
            wait(lambda: bool(bench.link.reports()))
        assert len(host.list()) == 1


def test_it_says_goodbye_and_leaves_modules_running(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.agent.agent.STOP_S", 60.0)  # which nobody needs
    tell(bench, of_device(1, "digits"))
    wait(lambda: "digits" in bench.units)
    began = time.monotonic()
    bench.agent.stop()
    assert time.monotonic() - began < 20
    assert bench.link.last is not None
    assert b'"online"' not in bench.link.last.payload
    assert (bench.units["digits"].is_stopped, bench.units["digits"].is_removed) == (True, False)
    assert not [t.name for t in threading.enumerate() if t.name in ("session", "reporter")]


def test_it_stops_modules_when_asked(config: AgentConfig) -> None:
    bench = Bench(config)
    bench.agent.start()
    tell(bench, of_device(1, "digits"))
    wait(lambda: "digits" in bench.units)
    bench.agent.stop(is_halting=True)
    assert (bench.units["digits"].is_halted, bench.units["digits"].is_removed) == (True, False)


def test_a_unit_that_hangs_does_not_hold_up_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.agent.agent.STOP_S", 0.3)
    release = threading.Event()
    tell(bench, of_device(1, "digits"))
    wait(lambda: "digits" in bench.units)
    monkeypatch.setattr(bench.units["digits"], "stop", release.wait)
    began = time.monotonic()
    bench.agent.stop()
    release.set()
    assert time.monotonic() - began < 20


def test_a_dead_thread_is_reported_and_begun_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.link.connect()
    wait(lambda: bool(bench.link.reports()))

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(bench.agent.state, "keep_desired", full)
    tell(bench, of_device(1, "digits"))
    wait(lambda: any("session died" in str(r.error) for r in bench.link.reports()))
    monkeypatch.undo()
    wait(lambda: "digits" in bench.units)
    assert bench.agent.metrics()["thread_deaths"] >= 1


def test_a_port_that_another_has_is_reported_and_keeps_no_module_from_running(
    tmp_path: Path,
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        config = make_device(tmp_path, extra=f"{QUICK}[listen]\nport = {port}\n")
        with closing(Bench(config)) as bench:
            bench.agent.start()
            bench.link.connect()
            tell(bench, of_device(1, "digits"))
            wait(lambda: "digits" in bench.units)
            wait(lambda: any(f"listen.port {port}" in str(r.error) for r in bench.link.reports()))
            other.close()
            wait(lambda: is_listening(port))


def is_listening(port: int) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
