"""What of Verilator's files is compiled together, and with what care."""

from __future__ import annotations

from pathlib import Path

from fpga.simulation.compilation import LARGE_BYTES, Part, parts

HARNESS = Path("/h/board.cpp")


def test_large_files_are_parts_of_their_own_and_what_runs_once_is_not_optimised() -> None:
    written = [Path(f"/w/{name}") for name in ("a.cpp", "b.cpp", "b__Slow.cpp", "c__Slow.cpp")]
    assert parts(written, HARNESS, [10, LARGE_BYTES, LARGE_BYTES, 10]) == [
        Part("large0", (Path("/w/b.cpp"),), "-O2"),
        Part("small", (Path("/w/a.cpp"), HARNESS), "-O2"),
        Part("slow", (Path("/w/b__Slow.cpp"), Path("/w/c__Slow.cpp")), "-O0"),
    ]


def test_a_harness_is_compiled_also_alone() -> None:
    assert parts([], HARNESS, []) == [Part("small", (HARNESS,), "-O2")]
