"""The Open Inference Protocol as its public clients use it, against the real server process:
tritonclient.http (synchronous and asyncio) and kserve.InferenceRESTClient, and by hand what these
cannot send."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.system.hostile_server import ROOT, Running, serve_model
from tests.system.oip_clients.cases import case_names
from tests.system.oip_models import bfloat16_model, identity_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

CLIENTS = ("triton_sync", "triton_aio", "kserve_rest")
X = np.array([[1, 2, 3, 4], [0, -1, 0.5, 100]], np.float32)
Y = {"name": "y", "datatype": "FP32", "shape": [2, 4], "data": (2 * X).reshape(-1).tolist()}
Errors = dict[str, str | None]


@pytest.fixture(scope="module")
def doubling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve_model(tmp_path_factory.mktemp("doubling")) as running:
        yield running


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("identity")
    with serve_model(folder, model=identity_model(folder / "identity.onnx")) as running:
        yield running


@pytest.fixture(scope="module")
def bfloat16(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("bfloat16")
    with serve_model(folder, model=bfloat16_model(folder / "bfloat16.onnx")) as running:
        yield running


@pytest.fixture(scope="module")
def python() -> Path:
    """The one that has the clients."""
    subprocess.run([ROOT / "scripts/oip-clients"], check=True, timeout=270)
    return ROOT / ".venv-oip/bin/python"


@pytest.fixture(scope="module")
def results(
    python: Path, doubling: Running, identity: Running, bfloat16: Running
) -> dict[str, Errors]:
    """By client, what went wrong in each of its cases. A client that ends early has fewer."""
    servers = (doubling, identity, bfloat16)
    found: dict[str, Errors] = {}
    for client in CLIENTS:
        ended = subprocess.run(
            [
                *(python, "-m", f"tests.system.oip_clients.{client}"),
                *(server.url.removeprefix("http://") for server in servers),
            ],
            cwd=ROOT,
            env={**os.environ, "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"ca')]
        found[client] = {line["case"]: line["error"] for line in lines}
        if ended.returncode:
            found[client]["end"] = ended.stderr[-2000:]
    return found


@pytest.mark.parametrize(
    ("client", "case"), [(client, case) for client in CLIENTS for case in case_names(client)]
)
def test_client(results: dict[str, Errors], client: str, case: str) -> None:
    errors = results[client]
    assert case in errors, f"it ended before: {errors.get('end')}"
    assert errors[case] is None, errors[case]


def infer(
    server: Running, body: bytes, headers: dict[str, str] | None = None, model: str = "doubling"
) -> httpx.Response:
    return httpx.post(
        f"{server.url}/v2/models/{model}/infer", content=body, headers=headers, trust_env=False
    )


def json_request(**more: Any) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 4], "data": X.tolist()}
    return json.dumps({"inputs": [tensor], **more}).encode()


def test_a_raw_request(doubling: Running) -> None:
    response = infer(
        doubling,
        X.tobytes(),
        {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0"},
    )
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/octet-stream"
    header = int(response.headers["inference-header-content-length"])
    (output,) = json.loads(response.content[:header])["outputs"]
    assert output["shape"] == [2, 4]
    y = np.frombuffer(response.content[header:], np.float32).reshape(2, 4)
    assert np.array_equal(y, 2 * X)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/x-www-form-urlencoded", "", "application/octet-stream"],
    ids=["json", "curl", "none", "aiohttp"],
)
def test_json_under_any_name(doubling: Running, content_type: str) -> None:
    """Without Inference-Header-Content-Length a body is JSON, whatever it is called: curl and
    aiohttp, which tritonclient's asyncio client is made of, call it what they please."""
    response = infer(doubling, json_request(), {"Content-Type": content_type})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    assert response.json() == {"model_name": "doubling", "model_version": "1", "outputs": [Y]}


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(json_request())),
        ("x-gzip", gzip.compress(json_request())),
        ("deflate", zlib.compress(json_request())),
        ("identity", json_request()),
    ],
)
def test_compressed_requests(doubling: Running, coding: str, body: bytes) -> None:
    response = infer(doubling, body, {"Content-Encoding": coding})
    assert response.status_code == 200
    assert response.json()["outputs"] == [Y]


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("br", b"", 415),
        ("gzip", b"no gzip", 400),
        ("deflate", zlib.compress(json_request())[:-3], 400),
        ("gzip", gzip.compress(bytes(150 * 1024 * 1024), 1), 413),
    ],
    ids=["brotli", "no gzip", "cut off", "bomb"],
)
def test_compressed_requests_that_are_refused(
    doubling: Running, coding: str, body: bytes, status: int
) -> None:
    response = infer(doubling, body, {"Content-Encoding": coding})
    assert response.status_code == status
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize("header", ["-1", "1e3", "+5", "", "99999", "9" * 40, "1, 1"])
def test_a_json_length_that_is_none(doubling: Running, header: str) -> None:
    response = infer(doubling, json_request(), {"Inference-Header-Content-Length": header})
    assert response.status_code == 400
    assert "Inference-Header-Content-Length" in response.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v2/models/doubling/infer", "POST"),
        ("POST", "/v2/health/ready", "GET"),
        ("DELETE", "/v2/models/doubling", "GET"),
        ("GET", "/v2/repository/index", "POST"),
    ],
)
def test_methods(doubling: Running, method: str, path: str, allowed: str) -> None:
    response = httpx.request(method, doubling.url + path, trust_env=False)
    assert response.status_code == 405
    assert allowed in response.headers["allow"]
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize("path", ["/v2/nothing", "/v2/models", "/v2/models/doubling/x", "/v2//"])
def test_paths_that_are_none(doubling: Running, path: str) -> None:
    response = httpx.get(doubling.url + path, trust_env=False)
    assert response.status_code == 404
    assert set(response.json()) == {"error"}


def test_the_index_of_what_is_ready(doubling: Running) -> None:
    url = f"{doubling.url}/v2/repository/index"
    response = httpx.post(url, content=b'{"ready": true}', trust_env=False)
    assert [entry["name"] for entry in response.json()] == ["doubling"]
    assert httpx.post(url, content=b"[]", trust_env=False).status_code == 400
    assert httpx.post(url, content=b"{", trust_env=False).status_code == 400


def test_the_name_that_is_advertised(tmp_path: Path) -> None:
    with serve_model(tmp_path, "--server-name", "triton") as running:
        document = httpx.get(f"{running.url}/v2", trust_env=False).json()
        assert document["name"] == "triton"
        assert httpx.get(f"{running.url}/v2/", trust_env=False).json() == document
