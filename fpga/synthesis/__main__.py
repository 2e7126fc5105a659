"""python -m fpga.synthesis resources [N] | route [FOLDER [SPEED]]"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from fpga.errors import ToolError
from fpga.isa.shape import LARGE, SMALL
from fpga.synthesis.resources import estimate, table
from fpga.synthesis.route import route


def main(arguments: list[str]) -> int:
    """The exit status."""
    what = arguments[0] if arguments else "resources"
    try:
        if what == "resources":
            shape = SMALL if arguments[1:] == ["8"] else LARGE
            print(f"N = {shape.n} on a xc7z020, as yosys estimates it")
            print(table(estimate(shape)))
            return 0
        if what == "route":
            folder = Path(arguments[1] if len(arguments) > 1 else "build/ecp5").absolute()
            folder.mkdir(parents=True, exist_ok=True)
            speed = int(arguments[2]) if len(arguments) > 2 else 6
            routed = route(folder, _tool("nextpnr-ecp5"), _tool("ecppack"), speed)
            print(f"N = 8 on an ECP5-85F-{speed}: {routed.fmax_mhz:.1f} MHz, {routed.bitstream}")
            return 0
    except ToolError as error:
        print(error, file=sys.stderr)
        return 1
    print(__doc__, file=sys.stderr)
    return 2


def _tool(name: str) -> str:
    """The tool, or YoWASP's."""
    return name if shutil.which(name) else f"yowasp-{name}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
