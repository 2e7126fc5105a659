"""The comparer as the mirror has it: a child that may be slow, or die, without anybody waiting.

    link = Link(command, room)
    running = asyncio.create_task(link.run())     # starts it, again and again
    link.offer(exchange, size)                    # never waits
    link.dropped(["r3"], "large")
    await link.finish(10)

What the child has not finished counts in the room, so no more lies between the two than the room
has. What it had when it died is lost, and counted as such by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections import Counter
from collections.abc import Sequence

from runtime.shadow.records import NUMBER, Dropped, Exchange, Finish, Frame, framed
from runtime.shadow.room import Room

PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
QUIET_S = 30.0
"""Who lived this long is started again at once when it dies."""
TELL_S = 0.5
"""How often the child hears of what was dropped."""
MOST_SHADOWS = 100
"""Different names that are counted until the child hears of them."""


class Link:
    """``command``: of the child; the number of its descriptor is added."""

    def __init__(self, command: Sequence[str], room: Room) -> None:
        self._command, self._room = list(command), room
        self._transport: asyncio.Transport | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._theirs: dict[int, tuple[tuple[str, ...], int]] = {}
        """Shadows and bytes of what the child has, by number."""
        self._dropped: Counter[tuple[str, str]] = Counter()
        self._is_finishing = False

    def offer(self, exchange: Exchange, size: int) -> None:
        """It goes to the child, or is dropped; either way it is ended in the room."""
        if self._transport is None:
            self.dropped(exchange.shadows, "away")
            self._room.ends(size)
            return
        self._theirs[exchange.number] = exchange.shadows, size
        self._write(exchange)

    def dropped(self, shadows: Sequence[str], reason: str) -> None:
        """See counts.REASONS."""
        for shadow in shadows:
            if len(self._dropped) < MOST_SHADOWS or (shadow, reason) in self._dropped:
                self._dropped[shadow, reason] += 1

    async def run(self) -> None:
        """Until ``finish``."""
        failures = 0
        loop = asyncio.get_running_loop()
        while not self._is_finishing:
            began_s = loop.time()
            await self._live()
            failures = 1 if loop.time() - began_s > QUIET_S else failures + 1
            if not self._is_finishing:
                await asyncio.sleep(PAUSES_S[min(failures, len(PAUSES_S)) - 1])

    async def finish(self, timeout_s: float) -> None:
        """The child does what it has, and ends."""
        self._is_finishing = True
        self._tell()
        self._write(Finish())
        process = self._process
        if process is not None:
            try:
                await asyncio.wait_for(process.wait(), timeout_s)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    def acknowledged(self, number: int) -> None:
        """The child is done with it."""
        _, size = self._theirs.pop(number, ((), None))
        if size is not None:
            self._room.ends(size)

    async def _live(self) -> None:
        """One child, from its start to its end."""
        ours, theirs = socket.socketpair()
        try:
            descriptor = theirs.fileno()
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                str(descriptor),
                pass_fds=[descriptor],
                stdin=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            ours.close()
            print(f"the comparer does not start: {error.strerror}", file=sys.stderr, flush=True)
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: _Acknowledgements(self), sock=ours)
        self._transport = transport
        telling = asyncio.create_task(self._keep_telling())
        try:
            code = await self._process.wait()
        finally:
            telling.cancel()
            self._transport.abort()
            self._transport = None
            self._lose()
        if not self._is_finishing:
            print(f"the comparer ended with {code}", file=sys.stderr, flush=True)

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(TELL_S)
            self._tell()

    def _tell(self) -> None:
        if self._transport is None:
            return
        for (shadow, reason), count in self._dropped.items():
            self._write(Dropped(shadow, reason, count))
        self._dropped.clear()

    def _write(self, frame: Frame) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(framed(frame))

    def _lose(self) -> None:
        for shadows, size in self._theirs.values():
            self.dropped(shadows, "lost")
            self._room.ends(size)
        self._theirs.clear()


class _Acknowledgements(asyncio.Protocol):
    def __init__(self, link: Link) -> None:
        self._link, self._rest = link, b""

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) - len(data) % NUMBER.size
        for (number,) in NUMBER.iter_unpack(data[:whole]):
            self._link.acknowledged(number)
        self._rest = data[whole:]


def comparer_command(folder: str, service: str) -> list[str]:
    """Of the child; ``-P``: nothing in the folder is taken for a module."""
    return [sys.executable, "-P", "-m", "runtime.shadow.comparer", folder, service]


def raised_files() -> None:
    """Two for each connection, so as many as may be."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
