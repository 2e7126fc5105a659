"""The process that drives a board, with an odd board: python -m tests.fpga.engine.odd_board KIND
BOOT ARGUMENT...; see `python_of`.

real        a Pynq-Z2 of silicon
other       an Arty-Z7-10, simulated
faulty      its DMA reports an error while the file in ODD_BOARD is there
hopeless    the same, and it does not recover
late        opens only when the file in ODD_BOARD is there
crash       ends before it is ready
garbage     sends nonsense instead of READY
mute        says nothing
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path

from fpga.driver.emulated import EmulatedHardware
from fpga.errors import EngineError
from fpga.isa import registers
from fpga.serving.__main__ import main

ROOT = Path(__file__).parents[3]
FILE = "ODD_BOARD"


def python_of(kind: str, folder: Path) -> str:
    """A program to be INFERRY_FPGA_PYTHON."""
    path = folder / f"python-{kind}"
    path.write_text(
        "#!/bin/sh\n"
        f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m tests.fpga.engine.odd_board {kind} "$@"\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def _is_there() -> bool:
    return os.path.exists(os.environ.get(FILE, ""))


def _faulty(*, recovers: bool) -> None:
    read, write = EmulatedHardware.read, EmulatedHardware.write

    def odd_read(self: EmulatedHardware, address: int) -> int:
        value = read(self, address)
        if address == registers.DMA_BASE + 0x34 and _is_there():
            return value | 0x20
        return value

    def odd_write(self: EmulatedHardware, address: int, value: int) -> None:
        if not recovers and address == registers.DMA_BASE and value & 4 and _is_there():
            raise EngineError("the DMA does not end its reset, says /dev/odd/board")
        write(self, address, value)

    EmulatedHardware.read = odd_read  # type: ignore[method-assign]
    EmulatedHardware.write = odd_write  # type: ignore[method-assign]


def _wait() -> None:
    end = time.monotonic() + 30
    while not _is_there() and time.monotonic() < end:
        time.sleep(0.01)


def _socket(arguments: list[str]) -> socket.socket:
    return socket.socket(fileno=int(arguments[arguments.index("--fd") + 1]))


def run(kind: str, arguments: list[str]) -> int:
    if kind == "real":
        EmulatedHardware.name, EmulatedHardware.idcode = "Pynq-Z2", 0x03727093
        EmulatedHardware.is_simulated = False
    elif kind == "other":
        EmulatedHardware.name, EmulatedHardware.idcode = "Arty-Z7-10", 0x03722093
    elif kind in ("faulty", "hopeless"):
        _faulty(recovers=kind == "faulty")
    elif kind == "late":
        _wait()
    elif kind == "crash":
        os.kill(os.getpid(), signal.SIGBUS)
    elif kind == "garbage":
        with _socket(arguments) as sock:
            sock.sendall(b"Traceback (most recent call last):\n" * 10)
            return 0
    elif kind == "mute":
        with _socket(arguments) as sock:
            sock.recv(1)
            return 0
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[3:]))
