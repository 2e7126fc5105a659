"""A simulated board: what a PYNQ-Z1 or Z2 is to a driver, with Verilated logic.

designs      .bit and .hwh of a simulated engine
bitstream    .bit and .bin of simulated designs
hwh          the description that pynq reads
memory       contiguous memory, with a cache that must be flushed
machine      the whole: files, clocks, registers, memory, logic, faults
inprocess    that machine as a pynq.Device                                   pynq
remote       that machine behind PYNQ.remote's gRPC                          pynq

device = inprocess.attach(Machine("pynq-z2"))     # then pynq.Overlay(..., device=device)
python -m fpga.board --listen 127.0.0.2           # then PYNQ_REMOTE_DEVICES=127.0.0.2
"""
