"""schemathesis reads the workspace service's /openapi.json and holds it to it: no answer is a 5xx
or not described, and what the document does not allow is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from registry import Workspace
from registry.distribution import Distribution
from tests.runtime.registry_service.served import Served, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

FUZZ_S = "15"
NOT_ALLOWED = "positive_data_acceptance"
"""A name or reference has rules that no schema says, so that 400 is right for what one allows."""


@dataclass(frozen=True)
class Asked:
    """A service with a model and an image, and an owner's token."""

    served: Served
    token: str


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("api")
    workspace = Workspace.init(folder / "ws", base="none")
    (folder / "w.txt").write_bytes(b"weights")
    (folder / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    workspace.models.register(folder / "w.txt", name="m")
    workspace.images.create("digits", models=["m"], script=folder / "score.py")
    token = Distribution.open(workspace.root).tokens.create("fuzz", "owner", None)
    with serving(workspace.root) as served:
        yield Asked(served, token)


def test_the_service_does_what_its_document_says(asked: Asked, tmp_path: Path) -> None:
    command = os.fspath(Path(sys.executable).with_name("schemathesis"))
    ended = subprocess.run(
        [
            *(command, "run", f"{asked.served.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {asked.token}"),
            *("--phases", "examples,coverage,fuzzing", "--max-time", FUZZ_S),
            *("--generation-deterministic", "--exclude-checks", NOT_ALLOWED),
            *("--exclude-path-regex", "/events$", "--exclude-path-regex", "/tokens/"),
            *("--continue-on-failure", "--no-color"),
        ],
        cwd=tmp_path,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
    assert httpx.get(f"{asked.served.url}/healthz", trust_env=False).status_code == 200
