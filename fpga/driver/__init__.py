"""The driver: one for real boards, simulated boards and none. Numpy and pynq, Python 3.8.

hardware   what a board must be able to do (a port), and its addresses
emulated   no board at all: the emulator behind the same port
on_pynq    a board through pynq: real, simulated in process, simulated over PYNQ.remote   pynq
bitfile    which part and provenance a .bit has
transfer   the DMA: starting, waiting, what its errors mean
lock       one process for a board
session    opens an artifact on a board, runs batches, recovers
"""
