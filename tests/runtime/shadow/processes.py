"""A folder as HAProxy's, with a mirror in it, and servers of the test's at the sockets beside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from runtime.shadow.mirrors import Mirrors
from tests.runtime.balance.conftest import haproxies
from tests.runtime.balance.load import wait_until

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A socket's path is short; whatever runs there at the end is killed."""
    path = Path(tempfile.mkdtemp(prefix="shadow-"))
    try:
        yield path
    finally:
        wait_until(lambda: not killed(path))
        shutil.rmtree(path)


def killed(folder: Path) -> list[int]:
    """What runs in that folder."""
    found = haproxies(folder)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return found


@contextlib.contextmanager
def serving(path: Path, serve: Serve) -> Iterator[None]:
    """A server of asyncio's at a socket, in a thread of its own."""
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await serve(reader, writer)
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_unix_server(handle, path)
        started.set()
        async with server:
            await server.serve_forever()

    def main() -> None:
        asyncio.set_event_loop(loop)
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(run())
        rest = asyncio.all_tasks(loop)
        for task in rest:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        loop.run_until_complete(asyncio.sleep(0.01))  # connections that were closed end
        loop.close()

    thread = threading.Thread(target=main)
    thread.start()
    assert started.wait(60)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        thread.join(60)
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def mirror(folder: Path, told: list[str] | None = None) -> Iterator[Mirrors]:
    """Of the service ``a``."""
    mirrors = Mirrors(folder, told=(told if told is not None else []).append)
    try:
        mirrors.keep({"a"})
        wait_until(lambda: can_connect(folder / "a.mirror.sock"))
        yield mirrors
    finally:
        mirrors.close()


def can_connect(path: Path) -> bool:
    try:
        connected(path).close()
    except OSError:
        return False
    return True


def connected(path: Path) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(10)
        link.connect(str(path))
    except BaseException:
        link.close()
        raise
    return link


def received(link: socket.socket, size: int | None = None) -> bytes:
    """So many bytes; without ``size`` all, until the other side closes."""
    found = bytearray()
    while size is None or len(found) < size:
        data = link.recv(1 << 16 if size is None else size - len(found))
        if not data:
            break
        found += data
    return bytes(found)


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of one with a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            size = int(line.partition(b":")[2])
    return head, await reader.readexactly(size)
