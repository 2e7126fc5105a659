"""A project that makes a real bitstream, for whoever has the tools: Vivado, or openXC7.

Neither tool is free to have here: what is written is UNTESTED beyond its Verilog, which is the one
that is simulated. Both say so in their first lines.
"""

from fpga.project.files import write

__all__ = ["write"]
