"""Simulated boards behind PYNQ.remote, until they are stopped.

python -m fpga.board --listen 127.0.0.2 --listen 127.0.0.3 --board pynq-z2
PYNQ_REMOTE_DEVICES=127.0.0.2 python my_pynq_program.py
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from contextlib import ExitStack

from fpga.board.machine import Machine
from fpga.driver.parts import KINDS
from fpga.errors import FpgaError


def main() -> int:
    """0 after SIGTERM or SIGINT, 1 where it cannot begin."""
    parser = argparse.ArgumentParser(prog="python -m fpga.board", description="simulated boards")
    parser.add_argument(
        "--listen", action="append", metavar="ADDRESS", help="127.0.0.1; a board for each"
    )
    parser.add_argument("--port", type=int, default=7967, help="pynq knows 7967 alone")
    parser.add_argument("--board", choices=sorted(KINDS), default="pynq-z2")
    asked = parser.parse_args()
    try:
        from fpga.board.remote import serve
    except ImportError as error:
        print(f"error: {error.name} is not installed: run scripts/pynq, then use its Python",
              file=sys.stderr)  # fmt: skip
        return 1
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with ExitStack() as boards:
        try:
            for host in asked.listen or ["127.0.0.1"]:
                machine = Machine(asked.board)
                boards.callback(machine.close)
                server = serve(machine, host, asked.port)
                boards.callback(lambda ended: ended(1).wait(), server.stop)
                print(
                    f"{machine.kind.name} (simulated) is ready at {host}:{asked.port}", flush=True
                )
        except FpgaError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        stopping.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
