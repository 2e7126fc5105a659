"""A workspace with two images."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from registry import Workspace
from tests.registry.onnx_files import adder


class Ticks:
    """A clock that goes on by a minute each time it is asked; ``now`` may be set."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> str:
        self.now += timedelta(minutes=1)
        return self.now.isoformat(timespec="seconds").replace("+00:00", "Z")


@pytest.fixture
def ticks() -> Ticks:
    """The clock of ``made``."""
    return Ticks()


@pytest.fixture
def made(tmp_path: Path, ticks: Ticks) -> Workspace:
    """A workspace with images ``adder:1`` and ``adder:2`` of different models."""
    workspace = Workspace.init(tmp_path / "ws", base="none", clock=ticks)
    for constant in (1.0, 2.0):
        workspace.models.register(adder(tmp_path / "m.onnx", constant=constant), name="adder")
        workspace.images.create("adder", models=["adder"], proof=False)
    return workspace
