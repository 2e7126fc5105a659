"""One script worker process, seen from the server: start it, load it, end it.

worker = await ScriptWorker.spawn(environment, owner, limit_s=None)
ready = await worker.load()
worker.link.run(batch, done)        # worker_link.py
await worker.gone()
exit_code = await worker.stop()
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping

from scoring.errors import ScriptLoadError
from scoring.script import frames
from scoring.script.worker_link import LinkOwner, WorkerLink

STOP_GRACE_S = 3.0
"""How long a worker may take to leave after its socket was closed."""
LAST_WORDS_S = 0.1
"""How long after the end of the process its socket may stay open: a program that the script has
started may have inherited it."""
PROOF_LIMIT_S = 30.0
"""How long a worker may try run() on its sample; by itself it stops well before (merging.py)."""


class ProofError(ScriptLoadError):
    """The worker ended or hung while it tried run() on its sample: the next must not try."""

    def __init__(self, what: str) -> None:
        super().__init__("proof", f"while run() was tried on its sample, {what}")


class ScriptWorker:
    """A worker process and the link to it."""

    def __init__(self, process: asyncio.subprocess.Process, link: WorkerLink) -> None:
        self._process = process
        self._is_killed = False
        self.link = link

    def __repr__(self) -> str:
        return f"<ScriptWorker pid={self.pid} exit={self._process.returncode}>"

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    @classmethod
    async def spawn(
        cls,
        environment: Mapping[str, str],
        owner: LinkOwner,
        *,
        limit_s: float | None,
        cwd: str | None = None,
    ) -> ScriptWorker:
        """Start a process; its script is not loaded yet. It leads a process group of its own, so a
        Ctrl-C at the terminal reaches only the server, which ends its workers in order."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                _, link = await asyncio.get_running_loop().create_unix_connection(
                    lambda: WorkerLink(owner, limit_s=limit_s), sock=ours
                )
            except BaseException:
                ours.close()
                raise
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
                link.close()
                raise
        return cls(process, link)

    async def load(self) -> frames.Ready:
        """Wait until init() has returned. Raises ScriptLoadError when the script fails to, and
        ProofError; the process has then ended."""
        message = await self.link.load_message()
        if isinstance(message, frames.Proving):
            message = await self._proved()
        if isinstance(message, frames.Ready):
            return message
        code = await self.stop()
        if isinstance(message, frames.LoadFailed):
            raise ScriptLoadError(message.stage, message.message)
        raise ScriptLoadError("init", f"the worker {ending(code)} while it loaded")

    async def gone(self) -> None:
        """Return when the worker is of no use any more: its process has ended, it hangs, it answers
        nonsense, or its link was closed."""
        ended = asyncio.create_task(self._process.wait())
        lost = asyncio.create_task(self.link.lost.wait())
        try:
            await asyncio.wait({ended, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not lost.done():
                self.link.drain()
                await asyncio.wait({lost}, timeout=LAST_WORDS_S)
        finally:
            ended.cancel()
            lost.cancel()

    async def stop(self, *, grace_s: float = STOP_GRACE_S) -> int:
        """End the process and all of its group: ask, wait ``grace_s``, kill. Returns its exit code;
        idempotent."""
        self.link.close()
        if not self.link.has_hung:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):  # 3.11's wait_for can lose a cancellation
                    await self._process.wait()
        if not self._is_killed:  # once: the number may be another process's by the next time
            self._is_killed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)  # also what the script itself has started
        return await self._process.wait()

    async def _proved(self) -> frames.LoadMessage:
        try:
            async with asyncio.timeout(PROOF_LIMIT_S):
                message = await self.link.load_message()
        except TimeoutError:
            await self.stop(grace_s=0)
            raise ProofError(f"it did not return for {PROOF_LIMIT_S:g} s") from None
        if message is None:
            raise ProofError(f"the worker {ending(await self.stop())}")
        return message


def ending(exit_code: int) -> str:
    """How a process ended, in words: ``was ended by SIGSEGV``."""
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"exited with code {exit_code}"
