"""What simulates needs Verilator and a compiler, what estimates needs yosys: a developer's machine
without them skips these tests. CI installs them, and takes no skip."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NEEDS = {
    "rtl": ("verilator", "g++"),
    "timing": ("verilator", "g++"),
    "simulation": ("verilator", "g++"),
    "board/test_machine.py": ("verilator", "g++"),
    "board/test_pynq.py": ("verilator", "g++"),
    "synthesis": ("yosys",),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE not in item.path.parents:
            continue
        place = item.path.relative_to(HERE).as_posix()
        for start, tools in NEEDS.items():
            missing = [tool for tool in tools if shutil.which(tool) is None]
            if place.startswith(start) and missing:
                reason = f"{', '.join(missing)} is not installed: scripts/system-packages"
                item.add_marker(pytest.mark.skip(reason=reason))
