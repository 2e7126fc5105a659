from __future__ import annotations

from pathlib import Path

import pytest

from edge.hub import devices
from edge.hub.database import Database
from tests.edge.hub.fakes import NOW_MS


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """With the devices "a" and "b"."""
    database = Database(tmp_path / "hub.db")
    database.migrate()
    for name in ("a", "b"):
        devices.enrol(database, name, now_ms=NOW_MS)
    return database
