"""A workspace of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A new workspace in ``tmp_path / "ws"``."""
    return Workspace.init(tmp_path / "ws", base="none")
