"""The tracker of a new workspace, by a clock that a test sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import Workspace
from registry.blobs import BlobStore
from registry.database import Database
from registry.paths import WorkspacePaths
from registry.tracking import RunRecord, Tracking


class Clock:
    """Milliseconds that go on when a test says so."""

    def __init__(self) -> None:
        self.now_ms = 1_764_230_400_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    """Stands still."""
    return Clock()


@pytest.fixture
def tracking(workspace: Workspace, clock: Clock) -> Tracking:
    """The tracker of ``workspace``."""
    paths = WorkspacePaths(workspace.root)
    return Tracking(paths, Database(paths.database), BlobStore(paths), clock)


@pytest.fixture
def run(tracking: Tracking) -> RunRecord:
    """The run ``digits:1``, of no process."""
    return tracking.runs.create("digits", name="first", user="ada", source="train.py")


def tracking_of(root: Path) -> Tracking:
    """As another process sees it."""
    return Tracking.open(root)
