"""KEDA's protocol, asked by a real gRPC client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.controller_service.keda import KedaServer
from runtime.errors import BadValueError

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-pynq/bin/python"


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="scripts/pynq was not run")
def test_what_a_client_of_the_protocol_is_answered() -> None:
    done = subprocess.run(
        [PYTHON, "-m", "tests.runtime.controller_service.keda_client"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GRPC_VERBOSITY": "NONE"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["active"] == {"web": True, "asleep": False, "new": False}
    assert found["wanted"] == ["inferry-web", 1, 1.0, 3, 3.0]
    assert found["value"] == ["inferry-web", 2, 2.5, 9, 9.0]
    assert found["stream"] == [False, True, False]
    refused = found["refused"]
    assert refused["none"][0] == "INVALID_ARGUMENT"
    assert refused["unknown"] == ["NOT_FOUND", "there is no such deployment"]
    assert refused["by"] == ["INVALID_ARGUMENT", "by is wanted or value"]
    assert refused["new"] == ["UNAVAILABLE", "nobody has looked at it yet"]
    assert refused["broken"] == ["UNAVAILABLE", "the workspace cannot be read"]
    assert refused["large"][0] == "RESOURCE_EXHAUSTED"
    assert found["full"] == ["RESOURCE_EXHAUSTED", "too many streams"]
    assert found["meanwhile"] is True
    assert "nothing can listen for KEDA on 127.0.0.1, port PORT" in found["taken"]


def test_without_grpc_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    server = KedaServer("127.0.0.1", 0, lambda name: None)
    with pytest.raises(BadValueError, match="pip install"), server:
        raise AssertionError("it did not say so")
