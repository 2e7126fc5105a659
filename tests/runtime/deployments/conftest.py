"""A workspace with images of two models, and the host of processes over it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.hosts.processes import ProcessHost
from registry import Workspace
from runtime.deployments.stock import WorkspaceStock
from tests.engine import program
from tests.registry.onnx_files import adder
from tests.runtime.deployments.containers import containers
from tests.runtime.deployments.far_engine import far_engine, far_ssh

__all__ = ["containers", "far_engine", "far_ssh"]


@pytest.fixture
def made(tmp_path: Path) -> Workspace:
    """Images ``adder:1`` (adds 1) and ``adder:2`` (adds 2)."""
    workspace = Workspace.init(tmp_path / "ws", base="none")
    for constant in (1.0, 2.0):
        workspace.models.register(adder(tmp_path / "m.onnx", constant=constant), name="adder")
        workspace.images.create("adder", models=["adder"], proof=False)
    return workspace


@pytest.fixture
def host(made: Workspace) -> ProcessHost:
    """Processes of whoever runs the test, without cgroups."""
    return ProcessHost(made.root / "deployments" / "processes", WorkspaceStock(made.root))


@pytest.fixture
def folder() -> Iterator[Path]:
    """HAProxy's account must reach it, and pytest's folders are for their owner alone."""
    program("haproxy")
    with tempfile.TemporaryDirectory(prefix="inferry-balance-") as name:
        os.chmod(name, 0o755)
        yield Path(name) / "balance"
