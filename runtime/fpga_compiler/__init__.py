"""Compiling for an FPGA in a process of its own, with limits: for whoever serves clients.

order.py      what to compile, as it is handed over
process.py    the process, its limits, and what its end means
__main__.py   in the process
"""

from runtime.fpga_compiler.order import CompileOrder, check_files, check_installed
from runtime.fpga_compiler.process import CompileLimits, Compiler

__all__ = ["CompileLimits", "CompileOrder", "Compiler", "check_files", "check_installed"]
