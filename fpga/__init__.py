"""The FPGA accelerator: compiler, RTL, simulated board, driver (a later issue fills it)."""
