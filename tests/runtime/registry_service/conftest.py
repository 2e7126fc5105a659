"""One registry for a module's tests; each takes repositories of its own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from registry import Workspace
from tests.runtime.registry_service.served import Served, serving


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with one image, digits:1."""
    folder = tmp_path_factory.mktemp("registry")
    workspace = Workspace.init(folder / "ws", base="none")
    (folder / "m.bin").write_bytes(b"weights" * 1000)
    (folder / "score.py").write_text("def init(): ...\ndef run(data): return data\n")
    workspace.models.register(folder / "m.bin", name="m")
    workspace.images.create("digits", models=["m"], script=folder / "score.py")
    return workspace


@pytest.fixture(scope="module")
def served(workspace: Workspace) -> Iterator[Served]:
    """Its registry."""
    with serving(workspace.root, "--access-log") as served:
        yield served


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    """A client of it."""
    with served.client() as client:
        yield client
