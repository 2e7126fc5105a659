"""The driver: one for real boards, simulated boards and none. Numpy and pynq, Python 3.8.

hardware   what a board must be able to do (a port), and its addresses
emulated   no board at all: the emulator behind the same port
on_pynq    a board through pynq: real, simulated in process, simulated over PYNQ.remote   pynq
parts      boards, their parts and IDCODEs
bitfile    a .bit: its header, its packets, and which board may get it
handoff    a .hwh: what pynq cannot read is mended, what is another design's is refused
note       what was downloaded last, so that no register of another design is read
packing    the packet of a run, of which only inputs are written anew
transfer   the DMA: starting, waiting, what its errors mean
lock       one process for a board
session    opens an artifact on a board, runs batches, recovers
"""
