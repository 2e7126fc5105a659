"""Verilog to a shared library: built once, kept by the hash of all that went into it.

library   Verilator and a C++ compiler, behind a cache
board     the programmable logic with its memory, as an object (ctypes)
"""
