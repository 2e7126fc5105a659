"""Runs the command line in this process, where that is enough: it is ten times faster."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from registry import Workspace
from runtime.cli.main import run
from tests.registry.onnx_files import adder
from tests.runtime.server import Done


class Cli(Protocol):
    """``cli("model", "list")``: exit code and output of one command in a workspace of its own."""

    def __call__(self, *arguments: str) -> Done: ...


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """In a new folder that has a workspace."""
    monkeypatch.chdir(tmp_path)
    for name in ("INFERRY_WORKSPACE", "INFERRY_DEBUG", "INFERRY_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INFERRY_BASE", "none")

    def call(*arguments: str) -> Done:
        code = run(list(arguments))
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    assert call("init").code == 0
    return call


@pytest.fixture
def images(cli: Cli, tmp_path: Path) -> Workspace:
    """Its workspace, with the images ``adder:1`` (adds 1) and ``adder:2`` (adds 2)."""
    workspace = Workspace.open(tmp_path / ".inferry")
    for constant in (1.0, 2.0):
        workspace.models.register(adder(tmp_path / "m.onnx", constant=constant), name="adder")
        workspace.images.create("adder", models=["adder"], proof=False)
    return workspace
