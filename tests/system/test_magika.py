"""Google's file type model, as packaged by ``magika``, served over HTTP: files of this repository
get the type that the package itself gives them."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry import Workspace
from tests.system.model_server import ModelServer
from tests.system.onnx_nodes import session_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TYPES = {
    "pyproject.toml": "toml",
    "README.md": "markdown",
    "Makefile": "makefile",
    "registry/schema.sql": "sql",
    "scoring/tensors.py": "python",
    "scoring/http/app.py": "python",
}


@pytest.fixture(scope="module")
def model_dir() -> Path:
    found = importlib.util.find_spec("magika")
    assert found is not None
    assert found.origin is not None
    [path] = Path(found.origin).parent.glob("models/*/model.onnx")
    return path.parent


@pytest.fixture(scope="module")
def server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    folder = tmp_path_factory.mktemp("magika")
    workspace = Workspace.init(folder / "workspace", base="none")
    model = workspace.models.register(model_dir / "model.onnx", name="magika")
    bundle = workspace.models.bundle(model.reference, folder / "bundle")
    with ModelServer() as running, running.serving(bundle):
        yield running


@pytest.fixture(scope="module")
def magika() -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    from magika import Magika

    return Magika()


@pytest.fixture(scope="module")
def features(magika: Any) -> list[list[int]]:
    """One row of 2048 for each file, by the package's own extractor."""
    rows = []
    for name in TYPES:
        decided, extracted = magika._get_result_or_features_from_path(ROOT / name)
        assert decided is None, f"{name} needs no model"
        rows.append([*extracted.beg, *extracted.end])
    return rows


def test_files_get_the_type_that_the_package_gives_them(
    server: ModelServer, magika: Any, model_dir: Path, features: list[list[int]]
) -> None:
    labels = json.loads((model_dir / "config.min.json").read_text())["target_labels_space"]
    [rows] = server.outputs({"data": features}).values()
    for name, row in zip(TYPES, rows, strict=True):
        result = magika.identify_path(ROOT / name)
        best = int(np.argmax(row))
        assert labels[best] == str(result.prediction.dl.label) == TYPES[name]
        assert row[best] == pytest.approx(result.prediction.score, rel=1e-4)


def test_a_batch_gets_the_scores_that_onnxruntime_gives(
    server: ModelServer, model_dir: Path, features: list[list[int]]
) -> None:
    session = session_of(os.fspath(model_dir / "model.onnx"))
    [taken] = session.get_inputs()
    [given] = session.get_outputs()
    [direct] = session.run(None, {taken.name: np.array(features, dtype=np.int32)})
    answered = server.outputs({taken.name: features})
    assert list(answered) == [given.name]
    scores = np.array(answered[given.name], dtype=np.float32)
    assert scores.shape == (len(TYPES), 214)
    np.testing.assert_allclose(scores, direct, rtol=1e-4, atol=1e-7)


def test_a_file_alone_and_in_a_batch_gets_one_answer(
    server: ModelServer, features: list[list[int]]
) -> None:
    [together] = server.outputs({"data": features}).values()
    for row, expected in zip(features, together, strict=True):
        [[alone]] = server.outputs({"data": [row]}).values()
        np.testing.assert_allclose(alone, expected, rtol=1e-4, atol=1e-6)


def test_a_row_of_the_wrong_length_is_refused_with_the_expected_shape(
    server: ModelServer, features: list[list[int]]
) -> None:
    response = server.score({"data": [features[0][:-1]]})
    assert response.status_code == 400
    assert "2048" in response.json()["message"]
    assert "2047" in response.json()["message"]
