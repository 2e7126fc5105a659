"""schemathesis holds the server to the Open Inference Protocol: whatever it is asked, it answers as
the protocol describes, and never with a server error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.system.hostile_server import Running, serve_model
from tests.system.oip_openapi import document

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,negative_data_rejection"
)
"""Not positive_data_acceptance: the document cannot say that data must fill the shape."""
SECONDS = "10"
EXAMPLE = {
    "id": "42",
    "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [[1, 2.5, "NaN", 0]]}],
    "outputs": [{"name": "y"}],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve_model(tmp_path_factory.mktemp("served")) as running:
        yield running


def test_the_protocol_holds_for_whatever_is_asked(server: Running, tmp_path: Path) -> None:
    path = tmp_path / "oip.json"
    path.write_text(json.dumps(document("doubling", "1", ["x"], ["y"], EXAMPLE)))
    ended = subprocess.run(
        [
            os.fspath(Path(sys.executable).with_name("schemathesis")),
            *("run", os.fspath(path), "--url", server.url, "--checks", CHECKS),
            *("--phases", "examples,coverage,fuzzing", "--max-time", SECONDS),
            *("--generation-deterministic", "--continue-on-failure", "--no-color"),
        ],
        cwd=tmp_path,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    infer = httpx.post(f"{server.url}/v2/models/doubling/infer", json=EXAMPLE, trust_env=False)
    assert infer.status_code == 200, "the example never reached the model"
    assert httpx.get(f"{server.url}/v2/health/ready", trust_env=False).status_code == 200
