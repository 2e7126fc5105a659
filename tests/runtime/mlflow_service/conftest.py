"""The application over a workspace of its own, asked in process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry import Workspace
from runtime.mlflow_service import MlflowApp

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


class RefusedError(Exception):
    """The answer was an error."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status} {body[:300]!r}")
        self.status = status
        self.code = str(json.loads(body)["error_code"])
        self.message = str(json.loads(body)["message"])


@dataclass(frozen=True)
class Client:
    """Asks, and raises RefusedError."""

    app: MlflowApp
    workspace: Workspace
    runner: asyncio.Runner

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Whatever the answer is."""

        async def sent() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
                return await http.request(method, path, **options)

        return self.runner.run(sent())

    def get(self, path: str, /, **query: Any) -> Any:
        return self.ask("GET", API + path, params=query)

    def post(self, path: str, /, **body: Any) -> Any:
        return self.ask("POST", API + path, json=body)

    def patch(self, path: str, /, **body: Any) -> Any:
        return self.ask("PATCH", API + path, json=body)

    def delete(self, path: str, /, **body: Any) -> Any:
        return self.ask("DELETE", API + path, json=body)

    def ask(self, method: str, path: str, **options: Any) -> Any:
        answer = self.send(method, path, **options)
        assert answer.headers["x-content-type-options"] == "nosniff"
        if answer.status_code != 200:
            raise RefusedError(answer.status_code, answer.content)
        return answer.json()

    def put(self, path: str, data: bytes) -> None:
        self.ask("PUT", f"{FILES}/{path}", content=data)

    def read(self, path: str) -> bytes:
        answer = self.send("GET", f"{FILES}/{path}")
        if answer.status_code != 200:
            raise RefusedError(answer.status_code, answer.content)
        return answer.content

    def run(self, name: str = "first", experiment: str = "0", **more: Any) -> str:
        made = self.post("runs/create", experiment_id=experiment, run_name=name, **more)
        return str(made["run"]["info"]["run_id"])

    def model(self, name: str = "net", data: bytes = b"weights") -> str:
        """A name with one version; the run that it is from."""
        run = self.run("trainer")
        self.put(f"0/{run}/artifacts/model/weights.bin", data)
        self.put(f"0/{run}/artifacts/model/MLmodel", b"flavors: {}\n")
        self.post("registered-models/create", name=name)
        self.post("model-versions/create", name=name, source=f"runs:/{run}/model", run_id=run)
        return run


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    workspace = Workspace.init(tmp_path / "ws", base="none")
    app = MlflowApp(workspace)
    with asyncio.Runner() as runner:
        yield Client(app, workspace, runner)
    app.close()
