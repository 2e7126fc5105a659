"""The activities of a new workspace, by a clock that a test sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import Workspace
from registry.activities import Activities
from registry.clock import Clock, utc_now
from registry.database import Database
from registry.paths import WorkspacePaths


def activities_of(root: Path, clock: Clock = utc_now) -> Activities:
    """Those of the workspace at ``root``, as another process sees them."""
    paths = WorkspacePaths(root)
    return Activities(paths, Database(paths.database), clock)


@pytest.fixture
def root(workspace: Workspace) -> Path:
    """The folder of a new workspace."""
    return workspace.root


@pytest.fixture
def activities(root: Path) -> Activities:
    """Its activities."""
    return activities_of(root)
