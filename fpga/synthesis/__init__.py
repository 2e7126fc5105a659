"""What the engine takes of a chip, and how fast it is there, by open tools.

resources   yosys for Xilinx 7 series: LUTs, registers, DSPs, block RAMs (an estimate: no vendor
            tool has placed it)
route       yosys and nextpnr for an ECP5-85F: placed and routed, with its real Fmax

python -m fpga.synthesis resources [N]
python -m fpga.synthesis route [FOLDER [SPEED]]     speed grade: 6, 7 or 8
"""
