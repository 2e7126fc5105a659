"""What the process on a board runs is written for Python 3.8."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fpga.driver.test_python38 import FPGA
from tests.fpga.driver.test_python38 import test_a_file_is_python_38 as check

THERE = ("__init__", "__main__", "boards", "boot", "frames", "service")


@pytest.mark.parametrize("name", THERE)
def test_a_file_for_the_board_is_python_38(name: str) -> None:
    check(FPGA / "serving" / f"{name}.py")


def test_no_other_file_is_needed_there() -> None:
    """Nothing of these names a file of the server's side."""
    others = {path.stem for path in Path(FPGA / "serving").glob("*.py")} - set(THERE)
    for name in THERE:
        text = (FPGA / "serving" / f"{name}.py").read_text()
        assert not any(f"fpga.serving.{other} " in text for other in others)
        assert not any(f"from fpga.serving import {other}" in text for other in others)
