from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from edge.agent.config import AgentConfig
from edge.agent.main import run
from tests.edge.agent.devices import TOKEN, make_device

ROOT = Path(__file__).parents[3]
NEVER = ("onnxruntime", "numpy", "onnx", "click", "rich", "starlette", "uvicorn", "docker", "yaml")
LISTED = """
import sys
import edge.agent.main, edge.agent.agent, edge.agent.assembly, edge.agent.checks_network
import edge.agent.checks_machine, edge.agent.support_bundle, edge.agent.listener
print("\\n".join(sys.modules))
"""


@pytest.fixture
def device(tmp_path: Path) -> AgentConfig:
    return make_device(tmp_path)


@pytest.mark.slow
def test_an_agent_imports_nothing_that_a_device_does_not_have() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LISTED],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found = {name.partition(".")[0] for name in done.stdout.split()}
    assert "edge" in found
    assert found.isdisjoint(NEVER)


@pytest.mark.slow
def test_check_runs_on_the_device(device: AgentConfig, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--config", str(device.path)]) == 1  # there is no broker
    assert "broker" in capsys.readouterr().out
    assert run(["check", "--config", str(device.path), "--output", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {"name", "level", "text"} <= set(found[0])


@pytest.mark.slow
def test_a_support_bundle_is_made_on_the_device(
    device: AgentConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "support.tar.gz"
    assert run(["support-bundle", "--config", str(device.path), str(target)]) == 0
    assert target.stat().st_mode & 0o077 == 0
    with tarfile.open(target) as archive:
        assert "support/check.txt" in archive.getnames()
    assert TOKEN.encode() not in target.read_bytes()
    assert run(["support-bundle", "--config", str(device.path), str(target)]) == 1
    assert "already" in capsys.readouterr().err


def test_a_configuration_that_is_wrong_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.toml"
    for text in (None, "device = 1\n"):
        if text is not None:
            path.write_text(text)
        for command in ("agent", "check", "support-bundle"):
            assert run([command, "--config", str(path)]) == 1
            found = capsys.readouterr()
            assert (found.out, found.err.count("\n")) == ("", 1)
            assert found.err.startswith("edge: ")
            assert str(path) in found.err


def test_a_command_line_without_meaning_is_usage() -> None:
    for arguments in ([], ["fly"], ["check", "--colour"]):
        with pytest.raises(SystemExit) as caught:
            run(arguments)
        assert caught.value.code == 2


def test_help_is_quick_and_loads_little() -> None:
    code = "import sys; from edge.agent.main import parser; parser(); print(len(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ}, timeout=60,
    )  # fmt: skip
    assert int(done.stdout) < 200
