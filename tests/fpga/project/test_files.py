"""A project for tools that are not here: complete, repeatable, and honest about being untested."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fpga.board.designs import build_hash
from fpga.errors import BitstreamError
from fpga.isa.shape import LARGE, SMALL
from fpga.project import write


def test_a_project_holds_all_that_it_names(tmp_path: Path) -> None:
    made = write(tmp_path, LARGE)
    assert all(path.exists() for path in made)
    tcl = (tmp_path / "build.tcl").read_text()
    assert "UNTESTED" in tcl.splitlines()[0]
    assert "UNTESTED" in (tmp_path / "Makefile").read_text().splitlines()[0]
    assert f"CONFIG.BUILD {{128'h{build_hash(LARGE)}}}" in tcl
    assert "CONFIG.W_WORDS {1536}" in tcl
    assert "-part xc7z020clg400-1" in tcl
    assert (tmp_path / "rtl/engine.v").exists()
    for text in (tcl, (tmp_path / "Makefile").read_text()):
        assert not re.search(r"\$\{?(part|parameters|chparam|warning|clock_mhz)", text)
    assert tcl.count("{") == tcl.count("}")
    assert tcl.count("[") == tcl.count("]")


def test_the_same_project_twice_is_the_same(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", SMALL), write(tmp_path / "b", SMALL)
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_a_board_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BitstreamError, match="there are"):
        write(tmp_path, SMALL, "zcu104")


@pytest.mark.slow
def test_the_top_module_has_no_warnings(tmp_path: Path) -> None:
    if shutil.which("verilator") is None:
        pytest.skip("verilator is not installed: scripts/system-packages")
    write(tmp_path, SMALL)
    done = subprocess.run(
        ["verilator", "--lint-only", "-Wall", "--top-module", "zynq",
         *map(str, sorted((tmp_path / "rtl").glob("*.v")))],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
