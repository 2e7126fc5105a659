"""The FPGA accelerator: compiler, RTL, simulated board and driver (a later issue fills this package)."""
