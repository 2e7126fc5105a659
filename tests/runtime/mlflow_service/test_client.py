"""MLflow's stock client tracks into a workspace, and finds there what it finds with a real
``mlflow server``, whose answers are recorded (benchmarks/tracking/mlflow_conformance.py)."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from benchmarks.tracking.mlflow_conformance import DIFFERENCES, differences, recorded, run_script
from registry import Workspace
from runtime.mlflow_service import MlflowApp

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-mlflow/bin/python"
OF_VERSIONS = ("autologging.params", "autologging.metrics", "autologging.model_metrics")
"""What scikit-learn says, whose version here may be another than beside the real server."""


@pytest.fixture(scope="module")
def python() -> Path:
    """The one that has the client."""
    if not PYTHON.exists():
        pytest.skip("the stock mlflow client is not there: scripts/mlflow-client")
    subprocess.run([ROOT / "scripts/mlflow-client"], check=True, timeout=270)
    return PYTHON


@contextmanager
def _serving(app: MlflowApp) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.mark.slow
def test_the_stock_client_finds_what_it_finds_with_mlflows_server(
    python: Path, tmp_path: Path
) -> None:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    app = MlflowApp(workspace)
    with _serving(app) as url:
        found = run_script(python, url, tmp_path)
    app.close()
    unmeant = [
        (path, wanted, ours)
        for path, wanted, ours in differences(recorded(), found)
        if path not in DIFFERENCES and not path.startswith(OF_VERSIONS)
    ]
    assert unmeant == []
    names = {run.name: run for run in workspace.tracking.runs.search().runs}
    assert names["child"].parent == names["renamed"].id
    assert names["auto"].status == "finished"
    [link] = workspace.lineage.of_model("net:1").came_from
    assert str(link) == f"run {names['trainer'].reference}"


def test_each_answer_that_is_recorded_is_one_of_the_server(tmp_path: Path) -> None:
    """A step of the script that fails would be recorded as its error."""
    assert {key: value for key, value in recorded().items() if isinstance(value, str)} == {
        "failing": "FAILED"
    }
