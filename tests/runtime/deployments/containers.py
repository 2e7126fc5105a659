"""A workspace with images that are containers: made once in a run, as their base takes a while, and
copied for each test."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from tests.registry.onnx_files import adder

SECRET = "open sesame 4711"
SCRIPT = """
import os
from pathlib import Path

def init():
    global told
    told = Path(os.environ["INFERRY_SECRETS"], "token").read_text()

def run(data):
    print("asked", flush=True)
    return [os.environ["GREETING"], told, os.getuid()]
"""


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory, debian_base: Path) -> Iterator[Path]:
    """Images ``adder:1`` and ``adder:2`` (add 1 and 2), ``adder:3``, whose golden input it answers
    wrongly, and ``teller:1``, which tells a secret; and the bundle ``plain:1``, no container. All
    processes of a run share one workspace, which is only read."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "containers"
    with _alone(folder):
        if not folder.exists():
            _make(folder, debian_base)
        (folder / f"user-{os.getpid()}").touch()
    try:
        yield folder / "ws"
    finally:
        with _alone(folder):
            (folder / f"user-{os.getpid()}").unlink()
            if not list(folder.glob("user-*")):
                shutil.rmtree(folder)


def _make(folder: Path, base: Path) -> None:
    made = folder.with_name("containers-new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    workspace = Workspace.init(made / "ws", base=str(base))
    add_versions(workspace, made)
    (made / "score.py").write_text(SCRIPT)
    workspace.images.create("teller", models=["adder"], script=made / "score.py", proof=False)
    workspace.images.create("plain", models=["adder:1"], base="none", proof=False)
    made.rename(folder)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time."""
    with folder.with_name("containers.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def add_versions(workspace: Workspace, folder: Path) -> None:
    """Images ``adder:1``, ``:2`` and ``:3``; the last one is bad."""
    golden = folder / "golden.json"
    case = {"input": {"x": [[1, 2, 3]]}, "output": {"y": [[2, 3, 99]]}}
    golden.write_text(json.dumps({"v": 1, "cases": [case]}))
    for constant in (1.0, 2.0, 3.0):
        workspace.models.register(adder(folder / "m.onnx", constant=constant), name="adder")
        workspace.images.create(
            "adder", models=["adder"], golden=golden if constant == 3 else None, proof=False
        )


def copied(template: Path, root: Path) -> Workspace:
    """Of one's own."""
    shutil.copytree(template, root)
    return Workspace.open(root)
