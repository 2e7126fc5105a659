"""``python -m fpga.serving``: drives a board for a server (fpga/engine.py), which starts it.

    python -m fpga.serving --fd N --board emulated --folder bundle/fpga [--parent PID]

N is the inherited end of a Unix socket (fpga/serving/frames.py).
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import socket
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from fpga.serving import frames

PR_SET_PDEATHSIG = 1
_SERVERS_BUSINESS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""A terminal or service manager sends these to all processes; the server says what they mean."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Until the server has gone; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fpga.serving", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the inherited socket")
    parser.add_argument("--folder", type=Path, required=True, help="the compiled model")
    parser.add_argument("--board", required=True, help="as INFERRY_FPGA_BOARD, but auto")
    parser.add_argument("--parent", type=int, help="the server's process id")
    asked = parser.parse_args(arguments)
    with socket.socket(fileno=asked.fd) as sock:
        sock.set_inheritable(False)
        if not _settled(asked.parent):
            return 0
        try:
            return _drive(sock, asked.folder, asked.board)
        except OSError:  # the server has gone
            return 0


def _settled(parent: int | None) -> bool:
    """Die with the server, whatever this process does then, and leave signals to it. False where
    it has gone already."""
    for number in _SERVERS_BUSINESS:
        signal.signal(number, signal.SIG_IGN)
    if parent is None:
        return True
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    return os.getppid() == parent


def _drive(sock: socket.socket, folder: Path, board: str) -> int:
    warnings.simplefilter("ignore")  # pynq's, on machines without a board
    try:
        from fpga import artifact
        from fpga.serving import boards, service

        choice = boards.parse(board)
        made = artifact.load(folder)
        bit, hwh = ((folder / name).read_bytes() for name in (artifact.BIT, artifact.HWH))
    except Exception as error:
        frames.send_json(sock, frames.REFUSED, 0, frames.error_fields(error))
        return 1
    return service.drive(sock, made, bit, hwh, choice.open)


if __name__ == "__main__":
    sys.exit(main())
