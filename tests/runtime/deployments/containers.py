"""A workspace with images that are containers: made once in a run, as their base takes a while, and
copied for each test."""

from __future__ import annotations

import json
import shutil
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
def containers(tmp_path_factory: pytest.TempPathFactory, debian_base: Path) -> Path:
    """Images ``adder:1`` and ``adder:2`` (add 1 and 2), ``adder:3``, whose golden input it answers
    wrongly, and ``teller:1``, which tells a secret; and the bundle ``plain:1``, no container."""
    folder = tmp_path_factory.mktemp("containers")
    workspace = Workspace.init(folder / "ws", base=str(debian_base))
    add_versions(workspace, folder)
    (folder / "score.py").write_text(SCRIPT)
    workspace.images.create("teller", models=["adder"], script=folder / "score.py", proof=False)
    workspace.images.create("plain", models=["adder:1"], base="none", proof=False)
    return workspace.root


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
