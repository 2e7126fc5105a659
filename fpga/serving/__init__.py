"""A board in a process of its own: a server's engine (fpga/engine.py) asks it over a Unix socket.

In that process, Python 3.8 and newer, numpy and pynq:

__main__      python -m fpga.serving; boot is the same in a Python that has not this package
boards        which board
service       opens it, runs what comes, recovers
frames        what the two say to each other

In the server's:

interpreter   which Python has pynq
child         the process, its answers and their deadlines
keeper        starts it, looks on, starts the next one
"""
