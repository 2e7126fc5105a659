"""Which clients' connections a process holds, read from /proc: what ``kill -9`` may take along."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def held_by(pid: int, port: int) -> set[int]:
    """The clients' ports of the connections to 127.0.0.1:``port`` that the process has open."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(entry))
    return {
        client
        for inode, server, client in _connections()
        if server == port and client and f"socket:[{inode}]" in inodes
    }


def _connections() -> list[tuple[str, int, int]]:
    """Inode, local and remote port of each TCP connection."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [(words[9], _port(words[1]), _port(words[2])) for words in lines]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
