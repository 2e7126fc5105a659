"""A simulated board behind PYNQ.remote, until it is stopped.

python -m fpga.board --listen 127.0.0.2 --board pynq-z2
PYNQ_REMOTE_DEVICES=127.0.0.2 python my_pynq_program.py
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from fpga.board.machine import Machine
from fpga.driver.parts import KINDS
from fpga.errors import FpgaError


def main() -> int:
    """0 after SIGTERM or SIGINT, 1 where it cannot begin."""
    parser = argparse.ArgumentParser(prog="python -m fpga.board", description="a simulated board")
    parser.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS")
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
    machine = Machine(asked.board)
    try:
        server = serve(machine, asked.listen, asked.port)
    except FpgaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{machine.kind.name} (simulated) is ready at {asked.listen}:{asked.port}", flush=True)
    stopping.wait()
    server.stop(1).wait()
    machine.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
