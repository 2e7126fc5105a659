"""``python -m runtime.shadow FOLDER NAME``: the mirror of one service, until SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

import uvloop

from runtime.balance.mirror import direct_socket, mirror_socket
from runtime.shadow.link import Link, comparer_command, raised_files
from runtime.shadow.passing import Passing
from runtime.shadow.room import Room

MOST_BYTES, MOST_COPIES = 64 << 20, 512
"""Of requests and answers that are copied, from their first byte to when they were compared."""
DRAIN_S = 130.0
"""A HAProxy from before a reload goes on for so long at most."""
FINISH_S = 10.0


async def main(service: str) -> None:
    """In HAProxy's folder."""
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    room = Room(MOST_BYTES, MOST_COPIES)
    link = Link(comparer_command(".", service), room)
    passing = Passing(direct_socket(service), room, link.offer, link.dropped)
    name = mirror_socket(service)
    # A new one takes the place of one before it, without a moment in which there is none.
    new = f"{name}.new"
    server = await loop.create_unix_server(passing.connection, new, backlog=1024)
    os.chmod(new, 0o666)  # HAProxy is another user where this is root; its folder lets in no third
    os.rename(new, name)
    running = asyncio.create_task(link.run())
    await ending.wait()
    server.close()
    await passing.drained(DRAIN_S)
    await link.finish(FINISH_S)
    running.cancel()


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    raised_files()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(main(sys.argv[2]))
