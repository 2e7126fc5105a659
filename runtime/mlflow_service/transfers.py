"""The bytes of artifacts, up and down, over ASGI.

A small upload is held in memory until all of it has come, so that a slow client holds no thread. A
large one goes to the disk piece by piece, with its digest; few do so at a time, and each piece must
come within a bound. Nothing is recorded before all of it is on the disk.

A download is verified while it is sent; its last piece waits for the digest, so that a client never
takes damaged bytes for a whole file.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from urllib.parse import quote

from starlette.types import Send

from registry.errors import DamagedBlobError, StoreFullError
from runtime.mlflow_service.artifacts import Target, open_file, target_of
from runtime.mlflow_service.desk import Desk
from runtime.mlflow_service.limits import Limits
from runtime.mlflow_service.refusals import RefusedError, refusal
from runtime.registry_service.refusals import GoneError, SlowBodyError
from runtime.registry_service.request_body import RequestBody

LOOP_S = 10.0
"""Of a loop that has much to do, beyond what a client may take."""


class Transfers:
    """Those of one workspace, in one event loop. ``executor`` is for what reads and writes."""

    def __init__(self, limits: Limits, executor: Executor) -> None:
        self._limits = limits
        self._executor = executor
        # A large upload waits for its client with a thread: nothing else may wait for that.
        self._writers = ThreadPoolExecutor(
            max(1, limits.large_uploads), thread_name_prefix="mlflow-upload"
        )
        self._small = limits.small_uploads
        self._large = limits.large_uploads
        self._downloads = limits.downloads

    def close(self) -> None:
        """No upload begins any more."""
        self._writers.shutdown()

    async def upload(self, desk: Desk, path: str, body: RequestBody) -> None:
        """PUT mlflow-artifacts/artifacts/<path>."""
        loop = asyncio.get_running_loop()
        if body.size is not None:
            self._check_size(body.size)
        target = await loop.run_in_executor(self._executor, target_of, desk, path)
        await loop.run_in_executor(self._executor, self._check_room, desk, body.size or 0)
        if self._small <= 0:
            raise _busy()
        self._small -= 1
        try:
            start = await self._gather(body)
        finally:
            self._small += 1
        if body.is_read:
            await loop.run_in_executor(self._executor, _put, desk, target, iter([start]))
            return
        if self._large <= 0:
            raise _busy()
        self._large -= 1
        try:
            pieces = self._pieces(start, body, loop)
            await loop.run_in_executor(self._writers, _put, desk, target, pieces)
        finally:
            self._large += 1

    async def download(self, desk: Desk, path: str, send: Send) -> None:
        """GET mlflow-artifacts/artifacts/<path>. Raises before anything is sent."""
        if self._downloads <= 0:
            raise _busy()
        self._downloads -= 1
        try:
            await self._send(desk, path, send)
        finally:
            self._downloads += 1

    async def _send(self, desk: Desk, path: str, send: Send) -> None:
        loop = asyncio.get_running_loop()
        file, chunks = await loop.run_in_executor(self._executor, open_file, desk, path)
        held = await loop.run_in_executor(self._executor, next, chunks, None)
        following = await loop.run_in_executor(self._executor, next, chunks, None)
        await send(_head(file.path, file.size_bytes))
        try:
            while following is not None:
                await send({"type": "http.response.body", "body": held, "more_body": True})
                held = following
                following = await loop.run_in_executor(self._executor, next, chunks, None)
        except DamagedBlobError as error:  # the head is sent: only a cut can tell
            refusal(error)
            raise CutError from error
        await send({"type": "http.response.body", "body": held or b""})

    async def _gather(self, body: RequestBody) -> bytes:
        """The next MB of the body, or all that is left."""
        held = bytearray()
        try:
            async with asyncio.timeout(self._limits.stall_s):
                while not body.is_read and len(held) < self._limits.small_bytes:
                    held += await body.next()
        except TimeoutError:
            raise SlowBodyError from None
        return bytes(held)

    def _pieces(
        self, start: bytes, body: RequestBody, loop: asyncio.AbstractEventLoop
    ) -> Iterator[bytes]:
        """For the thread that writes them: it asks the loop for the next piece."""
        size = len(start)
        yield start
        while not body.is_read:
            asked = asyncio.run_coroutine_threadsafe(self._gather(body), loop)
            piece = asked.result(self._limits.stall_s + LOOP_S)  # a loop that ends says nothing
            size += len(piece)
            self._check_size(size)
            yield piece

    def _check_size(self, size: int) -> None:
        if size > self._limits.upload_bytes:
            raise RefusedError(
                413,
                "INVALID_PARAMETER_VALUE",
                f"an artifact has at most {self._limits.upload_bytes} bytes",
            )

    def _check_room(self, desk: Desk, size: int) -> None:
        disk = os.statvfs(desk.workspace.root)
        if disk.f_bavail * disk.f_frsize < size + self._limits.spare_bytes:
            raise StoreFullError("the workspace's disk has no room for this upload")


class CutError(Exception):
    """The answer cannot go on: the server cuts the connection."""


def _put(desk: Desk, target: Target, pieces: Iterator[bytes]) -> None:
    desk.tracking.files.put(target.run, target.path, pieces)


def _head(path: str, size: int) -> dict[str, object]:
    name = path.rsplit("/", 1)[-1]
    headers = [
        (b"content-type", b"application/octet-stream"),
        (b"content-length", str(size).encode()),
        (b"content-disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}".encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'; sandbox"),
        (b"cache-control", b"private, no-cache"),
    ]
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _busy() -> RefusedError:
    return RefusedError(429, "REQUEST_LIMIT_EXCEEDED", "too many transfers; try again soon")


__all__ = ["CutError", "GoneError", "Transfers"]
