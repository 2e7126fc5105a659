"""MLflow's stock clients, of versions 3 and 2, track into a workspace, and find there what they
find with a real ``mlflow server``, whose answers are recorded
(benchmarks/tracking/mlflow_conformance.py)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from benchmarks.tracking.mlflow_conformance import (
    CLIENTS,
    DIFFERENCES,
    differences,
    recorded,
    run_script,
)
from registry import Workspace
from runtime.mlflow_service import MlflowApp

ROOT = Path(__file__).parents[3]
OF_VERSIONS = ("autologging.params", "autologging.metrics", "autologging.warnings")
"""What scikit-learn says, whose version here may be another than beside the real server."""
ABSENT = """
import json, sys
import mlflow
from mlflow import MlflowClient
mlflow.set_tracking_uri(sys.argv[1])
client, said = MlflowClient(), {}
def ask(name, call):
    try:
        said[name] = ["no error", repr(call())]
    except Exception as error:
        said[name] = [getattr(error, "error_code", type(error).__name__), str(error)]
id = mlflow.set_experiment("absent").experiment_id
ask("traces", lambda: mlflow.search_traces(locations=[id]))
ask("trace", lambda: client.get_trace("tr-" + "0" * 32))
ask("feedback", lambda: mlflow.log_feedback(trace_id="tr-" + "0" * 32, name="x", value=1))
ask("prompt", lambda: mlflow.genai.register_prompt(name="greet", template="Hello {{name}}"))
ask("datasets", lambda: mlflow.genai.search_datasets())
ask("scorers", lambda: mlflow.genai.scorers.list_scorers(experiment_id=id))
ask("webhooks", lambda: client.list_webhooks())
ask("workspaces", lambda: client.list_workspaces())
client.create_registered_model("net")
ask("rename", lambda: client.rename_registered_model("net", "net2"))
ask("by_dataset", lambda: mlflow.search_logged_models(
    experiment_ids=[id], datasets=[{"dataset_name": "d"}]))
ask("prompts", lambda: list(mlflow.genai.search_prompts()))
print("\\n" + json.dumps(said))
"""


def _python(major: str) -> Path:
    """The one that has this client."""
    if not CLIENTS[major].exists():
        pytest.skip(f"MLflow's stock client is not there: scripts/mlflow-client {major}")
    subprocess.run([ROOT / "scripts/mlflow-client", major], check=True, timeout=270)
    return CLIENTS[major]


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


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Workspace, str]]:
    """A new workspace and its URL."""
    workspace = Workspace.init(tmp_path / "ws", base="none")
    app = MlflowApp(workspace)
    with _serving(app) as url:
        yield workspace, url
    app.close()


@pytest.mark.slow
@pytest.mark.parametrize("major", CLIENTS)
def test_each_stock_client_finds_what_it_finds_with_mlflows_server(
    major: str, served: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, url = served
    wanted = recorded(major)
    found = run_script(_python(major), url, tmp_path)
    unmeant = [
        (path, theirs, ours)
        for path, theirs, ours in differences(wanted, found)
        if path not in DIFFERENCES and not path.startswith(OF_VERSIONS)
    ]
    assert unmeant == []
    ours = found["autologging"]["warnings"]
    assert set(ours) <= set(wanted["autologging"]["warnings"])  # the client warns of nothing of us
    names = {run.name: run for run in workspace.tracking.runs.search().runs}
    assert names["child"].parent == names["renamed"].id
    assert names["auto"].status == "finished"
    [link] = workspace.lineage.of_model("net:1").came_from
    assert str(link) == f"run {names['trainer'].reference}"


@pytest.mark.slow
def test_what_is_not_part_of_inferry_says_so_at_the_client(
    served: tuple[Workspace, str], tmp_path: Path
) -> None:
    workspace, url = served
    done = subprocess.run(
        [_python("3"), "-c", ABSENT, url],
        cwd=tmp_path,
        env={
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(tmp_path),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "NO_PROXY": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    said: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    assert said.pop("prompts") == ["no error", "[]"]
    code, text = said.pop("by_dataset")
    assert (code, "not searched by datasets" in text) == ("INVALID_PARAMETER_VALUE", True)
    assert {code for code, _ in said.values()} == {"ENDPOINT_NOT_FOUND"}
    assert {name: "not part of Inferry" in text for name, (_, text) in said.items()} == (
        dict.fromkeys(said, True)
    )
    assert "prompts are" in said["prompt"][1]
    assert "traces and their assessments are" in said["traces"][1]
    assert [found.name for found in workspace.model_names.list()] == ["net"]


@pytest.mark.parametrize("major", CLIENTS)
def test_each_answer_that_is_recorded_is_one_of_the_server(major: str) -> None:
    """A step of the script that fails would be recorded as its error."""
    errors = {key: value for key, value in recorded(major).items() if isinstance(value, str)}
    assert errors == {"failing": "FAILED"}
