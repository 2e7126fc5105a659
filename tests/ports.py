"""Ports for programs that have to be told theirs, and ports where nobody is.

    port = free_port()

A port that the kernel chose (``bind`` to 0) and that is let go may be the next connection's, and
tests make thousands of those beside each other. These lie below the ports that the kernel gives,
and no two workers of pytest-xdist choose from the same ones.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket

LOWEST, HIGHEST = 10_000, 32_000
WORKERS = 16
"""More than pytest-xdist has here; others begin anew."""


def free_port(host: str = "127.0.0.1") -> int:
    """Nobody has it, and it was not given before by this process."""
    while True:
        port = _draw()
        if port in _given:
            continue
        with contextlib.suppress(OSError), socket.create_server((host, port)):
            _given.add(port)
            return port


def _draw() -> int:
    worker = int("".join(filter(str.isdigit, os.environ.get("PYTEST_XDIST_WORKER", ""))) or 0)
    return _RANDOM.randrange(LOWEST + worker % WORKERS, HIGHEST, WORKERS)


_given: set[int] = set()
# Of its own: hypothesis sets the seed of the other one, and then draws would repeat.
_RANDOM = random.Random(os.urandom(8))
