"""One script worker process, seen from the server: start it, talk to it, end it.

worker = await ScriptWorker.spawn(environment)
ready = await worker.load()
reply = await worker.score(request)
await worker.stop()
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping

from scoring import frames
from scoring.errors import EngineError, RunTimeoutError, ScriptLoadError, WorkerDiedError
from scoring.script_request import ScriptReply, ScriptRequest

STOP_GRACE_S = 3.0
"""How long an idle worker may take to leave after its socket was closed."""


class ScriptWorker:
    """A worker process and its socket. Not shared: one request at a time."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    def __repr__(self) -> str:
        return f"<ScriptWorker pid={self.pid} exit={self._process.returncode}>"

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    @classmethod
    async def spawn(cls, environment: Mapping[str, str], *, cwd: str | None = None) -> ScriptWorker:
        """Start a process; its script is not loaded yet. It leads a process group of its own, so a
        Ctrl-C at the terminal reaches only the server, which ends its workers in order."""
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "scoring.worker", "--fd", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=dict(environment),
                cwd=cwd,
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=2**20)
        return cls(process, reader, writer)

    async def load(self) -> frames.Ready:
        """Wait until init() has returned. Raises ScriptLoadError when the script fails to."""
        try:
            message, _ = await self._receive()
        except EngineError as error:
            code = await self.stop()
            raise ScriptLoadError("init", f"the worker {_ending(code)} while it loaded") from error
        if isinstance(message, frames.Ready):
            return message
        await self.stop()
        if isinstance(message, frames.LoadFailed):
            raise ScriptLoadError(message.stage, message.message)
        raise ScriptLoadError("check", "the worker answered nonsense while it loaded")

    async def score(
        self, request: ScriptRequest, *, timeout_s: float, on_free: Callable[[bool], None]
    ) -> ScriptReply:
        """Run the script on one request. ``on_free(alive)`` is called once the worker can take the
        next one (alive) or must be replaced (not alive): at the end of a stream, else on return.

        Raises WorkerDiedError, or RunTimeoutError after ``timeout_s`` (the worker did not even
        react to its own alarm: it is killed)."""
        alive = streaming = False
        try:
            async with asyncio.timeout(timeout_s):
                self._writer.write(frames.head(request.head, len(request.body)))
                if request.body:
                    self._writer.write(request.body)
                await self._drain()
                message, body = await self._receive()
            if isinstance(message, frames.Reply):
                alive = True
                return ScriptReply(
                    message.status, message.headers, body, message.run_ms, message.failed
                )
            if isinstance(message, frames.StreamHead):
                streaming = True
                chunks = self._chunks(on_free)
                return ScriptReply(message.status, message.headers, chunks, message.run_ms)
            raise WorkerDiedError("the worker answered nonsense")
        except TimeoutError:
            raise RunTimeoutError(timeout_s) from None
        finally:
            if not streaming:
                on_free(alive)

    async def wait(self) -> None:
        """Return when the process has ended."""
        await self._process.wait()

    async def stop(self, *, grace_s: float = STOP_GRACE_S) -> int:
        """End the process and all of its group: ask, wait ``grace_s``, kill. Returns its exit code;
        idempotent."""
        self._writer.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):  # wait_for of Python 3.11 can lose a cancellation
                await self._process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # also what the script itself has started
        return await self._process.wait()

    async def _chunks(self, on_free: Callable[[bool], None]) -> AsyncIterator[bytes]:
        alive = False
        try:
            while True:
                message, body = await self._receive()
                if isinstance(message, frames.StreamChunk):
                    yield body
                    continue
                alive = isinstance(message, frames.StreamEnd)
                if not alive or (isinstance(message, frames.StreamEnd) and message.broken):
                    raise EngineError("the stream broke off")
                return
        finally:
            on_free(alive)

    async def _drain(self) -> None:
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise WorkerDiedError("the worker has ended") from error

    async def _receive(self) -> tuple[frames.Message, bytes]:
        try:
            prefix = await self._reader.readexactly(frames.PREFIX.size)
            header_bytes, body_bytes = frames.sizes(prefix)
            message = frames.decode_header(await self._reader.readexactly(header_bytes))
            body = await self._reader.readexactly(body_bytes) if body_bytes else b""
        except (asyncio.IncompleteReadError, ConnectionError, frames.FrameError) as error:
            raise WorkerDiedError("the worker ended while it had this request") from error
        return message, body


def _ending(exit_code: int) -> str:
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"exited with code {exit_code}"
