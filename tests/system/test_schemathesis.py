"""schemathesis reads our own /swagger.json and holds the server to it: what the document allows is
answered, what it does not is refused, and every answer is a described one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import onnx
import pytest
from onnx import TensorProto, helper
from schemathesis import openapi

from tests.system.hostile_server import Running, doubling_model, serve_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

ELEMENTS = (
    *(TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16),
    *(TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2),
    *(TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64),
    *(TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64),
    TensorProto.BOOL,
)
FUZZ_S = "8"
"""The fuzzing phase ends by time only: it never runs out of examples."""


def passing_on_model(path: Path) -> Path:
    """Gives each of its inputs back: one of every dtype, scalars and matrices in turn."""
    ranks = [[] if index % 2 else ["N", 2] for index in range(len(ELEMENTS))]
    values = [
        (TensorProto.DataType.Name(element).lower(), element, shape)
        for element, shape in zip(ELEMENTS, ranks, strict=True)
    ]
    inputs = [helper.make_tensor_value_info(*value) for value in values]
    outputs = [helper.make_tensor_value_info(f"same_{n}", e, shape) for n, e, shape in values]
    nodes = [helper.make_node("Identity", [name], [f"same_{name}"]) for name, _, _ in values]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
    return path


@pytest.fixture(scope="module", params=[doubling_model, passing_on_model], ids=["one", "many"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    with serve_model(folder, model=request.param(folder / "model.onnx")) as running:
        yield running


@pytest.mark.parametrize("version", ["2.0", "3.0", "3.1"])
def test_the_server_does_what_its_document_says(
    server: Running, tmp_path: Path, version: str
) -> None:
    command = os.fspath(Path(sys.executable).with_name("schemathesis"))
    ended = subprocess.run(
        [
            *(command, "run", _document(server, version)),
            *("--phases", "examples,coverage,fuzzing", "--max-time", FUZZ_S),
            *("--generation-deterministic", "--max-response-time", "5"),
            *("--continue-on-failure", "--no-color"),
        ],
        cwd=tmp_path,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert "POST /score" not in ended.stdout  # neither among failures nor among warnings
    assert httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 200


@pytest.mark.parametrize("version", ["2", "2.0", "3", "3.0", "3.1"])
def test_the_document_is_valid_in_its_version(server: Running, version: str) -> None:
    schema = openapi.from_url(_document(server, version))
    schema.validate()
    asked = version if "." in version else f"{version}.0"
    assert schema.specification.version.startswith(asked)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE"])
def test_methods_that_are_not_described_are_405(server: Running, method: str) -> None:
    response = httpx.request(method, f"{server.url}/score", trust_env=False)
    assert response.status_code == 405
    assert set(response.json()) == {"message"}
    assert "POST" in response.headers["allow"]


def _document(server: Running, version: str) -> str:
    return f"{server.url}/swagger.json?version={version}"
