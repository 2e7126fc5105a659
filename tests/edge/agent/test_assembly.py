from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from edge.agent import assembly
from edge.agent.agent import Agent
from edge.agent.config import AgentConfig
from edge.agent.state import StateLock
from edge.errors import ConfigError
from edge.messages.desired import Desired, Module
from edge.messages.reported import ModuleReport
from edge.stock.device_stock import DeviceStock
from tests.edge.agent.devices import make_device
from tests.edge.agent.test_commands import wait

ROOT = Path(__file__).parents[3]
EXTRA = (
    "[registry]\nurl = 'http://127.0.0.1:1'\n[modules]\nhosts = ['process']\n"
    "[telemetry]\nmetrics_s = 1\n[listen]\nport = 0\n"
)


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    return make_device(tmp_path, extra=EXTRA)


def test_an_agent_of_real_parts_begins_and_ends_without_a_network(config: AgentConfig) -> None:
    with StateLock(config.state):
        agent = Agent(config, assembly.assemble)
        agent.start()
        wait(lambda: agent.metrics()["outbox_records"] > 0)
        assert agent.trouble() is None
        began = time.monotonic()
        agent.stop()
        assert time.monotonic() - began < 15
    assert (config.state / "outbox.db").exists()


def test_an_agent_that_cannot_be_is_refused_and_closes_what_it_opened(
    config: AgentConfig,
) -> None:
    (config.identity / "signing.pub").unlink()
    with pytest.raises(ConfigError, match="signing"):
        Agent(config, assembly.assemble)


def test_without_a_registry_it_runs_what_is_here(tmp_path: Path) -> None:
    agent = Agent(make_device(tmp_path), assembly.assemble)
    agent.start()
    module = Module("m", "m:1", "sha256:" + "a" * 64)
    agent.modules.apply(Desired(1, "press-7", 1, (module,)))
    wait(lambda: "no registry" in str([report.error for report in agent.modules.reports()]))
    agent.stop()


def test_modules_run_as_another_user_when_that_can_read_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    python = tmp_path / "python"
    python.touch(mode=0o755)
    stranger = (54_321, 54_321)
    assert assembly.module_user(str(python), stranger) is None  # pytest's folder is its own
    owner = (os.stat(python).st_uid, os.stat(python).st_gid)
    assert assembly.module_user("/bin/sh", stranger) == stranger
    assert assembly.module_user(str(python), owner) == owner
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert assembly.module_user("/bin/sh", stranger) is None


def test_metrics_are_asked_of_modules_that_answer() -> None:
    reports = [
        ModuleReport("a", "a:1", "d", "d", "idle", "healthy", port=8001),
        ModuleReport("b", "b:1", "d", "d", "idle", "unhealthy", port=8002),
        ModuleReport("c", "c:1", "d", "d", "idle", "healthy"),
    ]
    assert [(target.module, target.port) for target in assembly.targets(reports)] == [("a", 8001)]


def test_the_first_look_comes_soon() -> None:
    every_s = assembly.soon_then(lambda: 60.0)
    assert [every_s(), every_s(), every_s()] == [3.0, 60.0, 60.0]


@pytest.mark.slow
def test_the_process_ends_within_seconds_of_sigterm_and_is_alone(config: AgentConfig) -> None:
    command = [sys.executable, "-m", "edge", "agent", "--config", str(config.path)]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as agent:
        try:
            wait(lambda: (config.state / "reported.json").exists())
            second = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
            )
            assert (second.returncode, "another agent" in second.stderr) == (1, True)
            began = time.monotonic()
            agent.send_signal(signal.SIGTERM)
            said = agent.communicate(timeout=60)[1]
        finally:
            agent.kill()
    assert agent.returncode == 0, said
    assert time.monotonic() - began < 20
    assert said.splitlines()[-1].endswith("agent ends")
    report = json.loads((config.state / "reported.json").read_text())
    assert report["device"] == "press-7"


@pytest.mark.slow
def test_the_process_ends_in_time_when_packets_are_swallowed(config: AgentConfig) -> None:
    with closing(socket.socket()) as silent:  # takes connections, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        text = config.path.read_text().replace("port = 1\n", f"port = {silent.getsockname()[1]}\n")
        config.path.write_text(text)
        command = [sys.executable, "-m", "edge", "agent", "--config", str(config.path)]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as agent:
            try:
                silent.settimeout(60)
                with closing(silent.accept()[0]):
                    began = time.monotonic()
                    agent.send_signal(signal.SIGTERM)
                    assert agent.wait(60) == 0
                    assert time.monotonic() - began < 20
            finally:
                agent.kill()


def test_an_engine_that_comes_after_us_at_a_boot_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "DOCKER_SOCKET", tmp_path / "docker.sock")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    config = make_device(tmp_path)
    with closing(DeviceStock(config.state, reserve_bytes=0, boot_id="b")) as stock:
        found = assembly.make_hosts(config, stock)
        assert [host.kind for host in found] == ["process"]
        found = assembly.make_hosts(config, stock, {"docker"})
        assert [host.kind for host in found] == ["docker", "process"]
