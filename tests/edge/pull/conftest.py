"""A registry, and a device's stock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.stock.device_stock import DeviceStock
from tests.edge.pull.served import Served, new_stock
from tests.edge.stock.signed_images import new_store
from tests.registry.remote.hostile_registry import HostileRegistry


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A good registry, without images."""
    with HostileRegistry() as registry:
        found = Served(registry, new_store(tmp_path / "theirs"))
        found.serve()
        yield found


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[DeviceStock]:
    """An empty one."""
    with new_stock(tmp_path / "state") as found:
        yield found
