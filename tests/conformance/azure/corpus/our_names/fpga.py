WHO = "user's fpga"
