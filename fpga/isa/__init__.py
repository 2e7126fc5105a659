"""What the engine promises (docs/reference/fpga-engine.md), in Python. Numpy only, Python 3.8.

shape        how large an engine is
descriptor   one layer, 512 bits
parameter    scale and bias of a channel, 64 bits
packet       commands of the input stream
registers    the engine's registers
"""
