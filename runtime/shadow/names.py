"""Files of the mirror in HAProxy's folder (balance/mirror.py names the sockets between the two).

NAME.shadow.sock    what was counted: /metrics and /counts, by HTTP
NAME.shadow.json    the same, kept for the next comparer
NAME.shadow.lock    of the one comparer
NAME.mirror.log     what went wrong
"""

from __future__ import annotations

SOCKET, COUNTS = ".shadow.sock", ".shadow.json"


def counts_socket(service: str) -> str:
    """Where the counts are told."""
    return f"{service}{SOCKET}"


def counts_file(service: str) -> str:
    """Where they are kept."""
    return f"{service}{COUNTS}"


def lock_file(service: str) -> str:
    """Whoever has it locked counts."""
    return f"{service}.shadow.lock"


def log_file(service: str) -> str:
    """Of both processes."""
    return f"{service}.mirror.log"
