"""The FPGA accelerator: a model becomes a program for an engine in hardware, real or simulated.

isa/         what the hardware promises: shapes, descriptors, packets, registers
             (docs/reference/fpga-engine.md)                                  numpy
emulator/    runs programs in numpy, bit for bit                              numpy
timing/      says how many clocks a program takes, exactly
rtl/         the engine, its DMA and a board around them, in Verilog
simulation/  Verilog to a library: built once, kept by hash
board/       a simulated board: memory, clocks, faults; for pynq in process or remote
compiler/    ONNX to int8 to a program                                        onnx, onnxruntime
driver/      the same on all boards                                           numpy, pynq
serving/     a board in a process of its own, asked over a socket, kept alive numpy, pynq
engine       serves compiled models in the scoring server: fpga.engine:FpgaEngine numpy
artifact     a compiled model, which compiler and driver share                    numpy
synthesis/   what the engine takes of a chip, and how fast it is there: yosys, nextpnr
project/     a project for Vivado or openXC7, untested
"""
