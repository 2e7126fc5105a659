"""A store that is filled by hand, and the stock that has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.stock.device_stock import DeviceStock


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[DeviceStock]:
    """An empty one."""
    with closing(DeviceStock(tmp_path, reserve_bytes=0, boot_id="b1")) as found:
        yield found
