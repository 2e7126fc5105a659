"""Libraries are built once, anew when anything changes, and failures say what to do."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from fpga.errors import ToolError
from fpga.simulation.library import build

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("library")]
VERILOG = """
module adder #(parameter MORE = 1) (input wire [7:0] a, output wire [7:0] b);
    assign b = a + MORE[7:0];
endmodule
"""
HARNESS = """
#include "Vadder.h"
extern "C" int add(int a) { Vadder top; top.a = a; top.eval(); return top.b; }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("library")
    (made / "adder.v").write_text(VERILOG)
    (made / "adder.cpp").write_text(HARNESS)
    return made


def made(folder: Path, more: int, verilog: str = "adder.v") -> Path:
    return build(
        "adder", folder / "adder.cpp", {"MORE": more}, verilog=[folder / verilog], folder=folder
    )


def test_verilog_becomes_a_library_and_is_kept(folder: Path) -> None:
    first = made(folder, 1)
    assert ctypes.CDLL(str(first)).add(41) == 42
    stamp = first.stat().st_mtime_ns
    assert made(folder, 1) == first
    assert first.stat().st_mtime_ns == stamp
    other = made(folder, 5)
    assert other != first
    assert ctypes.CDLL(str(other)).add(41) == 46
    assert len(list(folder.glob("verilated-*.o"))) == 1  # the same for both
    assert not list(folder.glob("build-*"))


def test_two_processes_build_one_library(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.fpga.simulation.test_library import made;"
        "print(made(Path(sys.argv[1]), 9))"
    )
    root = Path(__file__).parents[3]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(folder)], cwd=root, stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    found = [process.communicate(timeout=120)[0].strip() for process in started]
    assert found[0] == found[1]
    assert Path(found[0]).exists()


def test_verilog_that_is_wrong_is_told_in_verilators_words(folder: Path) -> None:
    (folder / "wrong.v").write_text("module adder (input wire a; endmodule")
    with pytest.raises(ToolError, match=r"verilator failed: .*syntax error"):
        made(folder, 1, "wrong.v")


def test_a_missing_tool_is_named_with_its_package(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(ToolError, match=r"needs verilator: apt-get install"):
        made(folder, 77)
