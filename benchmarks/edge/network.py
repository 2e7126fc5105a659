"""A TCP relay that can be a bad network: silent, slow, or cut.

with BadNetwork(("127.0.0.1", 1883)) as network:
    connect_to(network.port)
    network.silence()        # nothing passes, nobody is told: as when packets are dropped
    network.mend()
    network.cut()            # every connection is reset; new ones are taken again
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

CHUNK_BYTES = 64 * 1024
LINGER_0 = struct.pack("ii", 1, 0)
"""close() sends RST."""


class BadNetwork:
    """Relays ``port`` of ``host`` to ``target``. ``up_bytes`` and ``down_bytes`` are what went by,
    from and to the clients. ``delay_s`` give or take ``jitter_s`` is added each way."""

    def __init__(
        self,
        target: tuple[str, int],
        *,
        bytes_per_s: float | None = None,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.target = target
        self.bytes_per_s = bytes_per_s
        self.delay_s, self.jitter_s = delay_s, jitter_s
        self._host = host
        self.up_bytes = self.down_bytes = 0
        self.connections = 0
        self._asked_port = port
        self.port = 0
        self._fresh: set[socket.socket] = set()
        """Accepted, and not anybody's yet."""
        self._open: set[asyncio.StreamWriter] = set()
        self._relays: set[asyncio.Task[None]] = set()
        self._is_over = False
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="bad network", daemon=True)
        self._server: socket.socket | None = None

    def __enter__(self) -> Self:
        try:
            self._server = socket.create_server((self._host, self._asked_port), backlog=100)
        except OSError:
            self._loop.close()
            raise
        self.port = self._server.getsockname()[1]
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._call(self._stop())
        self._thread.join(10)

    def silence(self) -> None:
        """Nothing passes until ``mend``; connections stay open."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def mend(self) -> None:
        """All passes again."""
        self._loop.call_soon_threadsafe(self._passing.set)

    def cut(self) -> None:
        """Reset every connection; what is under way is lost."""
        self._call(self._cut())

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _serve(self) -> None:
        assert self._server is not None
        asyncio.set_event_loop(self._loop)
        self._passing.set()
        # Not asyncio's server: what it has accepted and not shown yet when it ends, it leaves open.
        self._server.setblocking(False)
        self._loop.add_reader(self._server, self._accept, self._server)
        try:
            self._loop.run_forever()
        finally:
            self._loop.remove_reader(self._server)
            self._server.close()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            for client in self._fresh:
                client.close()
            self._loop.close()

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it is gone already
            client, _ = server.accept()
            client.setblocking(False)
            self._fresh.add(client)
            relay = self._loop.create_task(self._relay(client))
            self._relays.add(relay)  # the loop itself has weak references only
            relay.add_done_callback(self._relays.discard)

    async def _stop(self) -> None:
        self._is_over = True
        await self._cut()
        self._loop.call_later(0.05, self._loop.stop)

    async def _cut(self) -> None:
        for writer in list(self._open):
            with contextlib.suppress(OSError):
                found = writer.get_extra_info("socket")
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            writer.transport.abort()
        for relay in self._relays:  # whose queues may wait for nobody
            relay.cancel()

    async def _relay(self, client: socket.socket) -> None:
        self.connections += 1
        ends: list[asyncio.StreamWriter] = []
        try:
            reader, writer = await asyncio.open_connection(sock=client)
            self._fresh.discard(client)
            self._open.add(writer)
            ends.append(writer)
            await self._passing.wait()
            back, there = await asyncio.open_connection(*self.target)
            self._open.add(there)
            ends.append(there)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._copy(reader, there, is_up=True))
                both.create_task(self._copy(back, writer, is_up=False))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in ends:
                await self._close(end)

    async def _close(self, end: asyncio.StreamWriter) -> None:
        """What was given to it still goes out, unless it is cut."""
        end.close()
        if self._is_over:
            end.transport.abort()
        try:
            await end.wait_closed()
        except (OSError, asyncio.CancelledError):
            end.transport.abort()
        self._open.discard(end)

    async def _copy(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_up: bool
    ) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=256)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._take(source, under_way))
            both.create_task(self._give(sink, under_way, is_up=is_up))

    async def _take(
        self, source: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        data = b" "
        while data:
            data = await source.read(CHUNK_BYTES)
            late_s = self.delay_s + random.uniform(-self.jitter_s, self.jitter_s)
            await under_way.put((self._loop.time() + max(0.0, late_s), data))

    async def _give(
        self,
        sink: asyncio.StreamWriter,
        under_way: asyncio.Queue[tuple[float, bytes]],
        *,
        is_up: bool,
    ) -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            await self._passing.wait()
            if not data:
                break
            if self.bytes_per_s is not None:
                await asyncio.sleep(len(data) / self.bytes_per_s)
            if sink.is_closing():
                raise ConnectionResetError  # cut meanwhile: these bytes go nowhere
            if is_up:
                self.up_bytes += len(data)
            else:
                self.down_bytes += len(data)
            sink.write(data)
            await sink.drain()
        with contextlib.suppress(OSError):
            sink.write_eof()
