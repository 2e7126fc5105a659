"""A folder with a workspace that a training script would find."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import Workspace
from registry.tracking import Tracking
from runtime.tracking import run as run_module
from runtime.tracking import starting


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In a new folder, of no submitted run, and without the run of another test."""
    monkeypatch.chdir(tmp_path)
    for name in ("INFERRY_WORKSPACE", "INFERRY_RUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(run_module, "_context_run", None)
    monkeypatch.setattr(starting, "_attached", set())
    yield
    for left in list(run_module._open_runs):
        left.end("killed")


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    """The tracker of a new workspace ``.inferry`` here."""
    return Workspace.init(tmp_path / ".inferry", base="none").tracking
