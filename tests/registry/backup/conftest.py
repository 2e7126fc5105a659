"""A workspace with something of everything."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from tests.registry.onnx_files import adder

SECRET = b"the-password"


@pytest.fixture
def full(tmp_path: Path) -> Workspace:
    """Models, an image, a run with points and a file, a deployment with a secret, a file of the
    datastore, an activity with a log."""
    workspace = Workspace.init(tmp_path / "ws", base="none")
    run = workspace.tracking.runs.create("train")
    workspace.tracking.runs.log(run.id, points=[("loss", 0.5, 0, 1), ("loss", 0.25, 1, 2)])
    workspace.tracking.files.put(run.id, "outputs/notes.txt", [b"well done"])
    workspace.models.register(adder(tmp_path / "m.onnx"), name="adder", run=run.id)
    (tmp_path / "data.txt").write_bytes(b"x" * 200_000)
    workspace.models.register(tmp_path / "data.txt", name="data")
    workspace.images.create("web", models=["adder"], proof=False)
    workspace.deployments.create("live", "web:1", actor="ada")
    workspace.deployments.set_secret("live", "password", SECRET, actor="ada")
    folder = workspace.root / "datastore" / "photos"
    folder.mkdir(parents=True)
    (folder / "one.jpg").write_bytes(b"picture")
    with workspace.activities.start("push", "web:1") as activity:
        activity.log("pushed")
    return workspace


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "inferry-test", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)
