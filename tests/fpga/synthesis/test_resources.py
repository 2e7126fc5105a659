"""What the tools print is read rightly, and the engine fits."""

from __future__ import annotations

import pytest

from fpga.errors import ToolError
from fpga.isa.shape import SMALL
from fpga.synthesis.resources import XC7Z020, Resources, estimate, parse_stat, table
from fpga.synthesis.route import parse_fmax

STAT = """
=== engine ===

   Number of wires:               5190
   Number of cells:              13160
     BUFG                            1
     CARRY4                        753
     DSP48E1                        48
     FDRE                         5987
     FDSE                            7
     LUT2                         2160
     LUT6                         1270
     MUXF7                         114
     RAM64M                        131
     RAMB18E1                       15
     RAMB36E1                        7
     SRL16E                         81
"""


def test_a_stat_is_counted_with_the_luts_that_are_memories() -> None:
    luts = 2160 + 1270 + 4 * 131 + 81
    assert parse_stat(STAT) == Resources(luts, registers=5994, dsps=48, block_rams=14.5)
    assert "48 of     220   21.8 %" in table(parse_stat(STAT))


def test_a_text_without_cells_is_an_error() -> None:
    with pytest.raises(ToolError, match="no cells"):
        parse_stat("=== engine ===\n")


def test_the_frequency_after_routing_is_the_last_one() -> None:
    log = (
        "Info: Max frequency for clock '$glbnet$clk': 88.10 MHz (FAIL at 100.00 MHz)\n"
        "Info: Max frequency for clock '$glbnet$clk': 101.25 MHz (PASS at 100.00 MHz)\n"
    )
    assert parse_fmax(log) == 101.25
    with pytest.raises(ToolError, match="no frequency"):
        parse_fmax("nothing")


@pytest.mark.slow
def test_the_small_engine_takes_a_quarter_of_a_7z020_at_most() -> None:
    used = estimate(SMALL)
    assert used.luts <= XC7Z020.luts / 4
    assert used.dsps <= XC7Z020.dsps / 4
    assert used.block_rams <= XC7Z020.block_rams / 4
