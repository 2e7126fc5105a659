"""Sends a part of a file over a socket, by sendfile(2), whenever the socket takes more.

The loop's own sendfile registers with the selector anew for each piece; for a blob of 100 MB that
costs as much as the sending. A client that takes nothing for STALL_S is given up; until then it
costs one entry in the selector.
"""

from __future__ import annotations

import asyncio
import os
from typing import IO

PIECE_BYTES = 2 * 1024 * 1024
PIECES_AT_ONCE = 4
"""After so many, others get their turn."""
STALL_S = 60.0


class Sending:
    """One part of one file on its way; ``handle`` is the socket's, which does not block."""

    def __init__(
        self, handle: int, file: IO[bytes], offset: int, count: int, stall_s: float = STALL_S
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[bool] = self._loop.create_future()
        # The loop lets nobody but the transport wait for the transport's own handle.
        self._socket = os.dup(handle)
        self._file = file.fileno()
        self._offset = self._seen = offset
        self._end = offset + count
        self._stall_s = stall_s
        self._timer = self._loop.call_later(stall_s, self._check)

    async def done(self) -> bool:
        """Whether all of it was sent."""
        try:
            self._send()
            if not self._done.done():
                self._loop.add_writer(self._socket, self._send)
            return await self._done
        finally:
            self._timer.cancel()
            self._loop.remove_writer(self._socket)
            os.close(self._socket)

    def stop(self) -> None:
        """The connection is gone."""
        self._finish(False)

    def _send(self) -> None:
        try:
            for _ in range(PIECES_AT_ONCE):
                size = min(self._end - self._offset, PIECE_BYTES)
                sent = os.sendfile(self._socket, self._file, self._offset, size)
                self._offset += sent
                if sent == 0 or self._offset == self._end:  # 0: the file was cut short
                    self._finish(sent > 0)
                    return
        except BlockingIOError:
            return
        except OSError:
            self._finish(False)

    def _check(self) -> None:
        if self._offset == self._seen:
            self._finish(False)
            return
        self._seen = self._offset
        self._timer = self._loop.call_later(self._stall_s, self._check)

    def _finish(self, is_sent: bool) -> None:
        if not self._done.done():
            self._done.set_result(is_sent)
