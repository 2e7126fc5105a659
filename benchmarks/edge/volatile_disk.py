"""A disk that can lose its power: of what was written and not flushed any part may be gone.

    with VolatileDisk(folder / "disk.sock", image) as disk:     # an NBD server, for QEMU
        ...
        disk.power_off()                # the machine is killed now
        disk.cut(random.Random(1))      # and this is what the next one finds

It is worse than most: what it said to have flushed is kept, nothing else is promised. Sectors are
whole or not there.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

SECTOR_BYTES = 512
IHAVEOPT = 0x49484156454F5054
REPLY = 0x3E889045565A9
OPT_EXPORT_NAME, OPT_ABORT, OPT_GO = 1, 2, 7
REP_ACK, REP_INFO, REP_ERR_UNSUP = 1, 3, 2**31 + 1
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FLAG_FUA = 1
EXPORT_FLAGS = 0b1101
"""Has flags, sends flush, sends FUA."""
FLUSH_S = 0.005
"""As long as a drive takes; a cut in the meantime finds what it has not kept yet."""
EINVAL = 22


@dataclass(frozen=True, slots=True)
class Write:
    """``must_stay``: forced through the cache."""

    offset: int
    data: bytes
    must_stay: bool


def sectors(write: Write) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of each."""
    for start in range(0, len(write.data), SECTOR_BYTES):
        yield write.offset + start, write.data[start : start + SECTOR_BYTES]


def survivors(writes: list[Write], draw: random.Random) -> Iterator[tuple[int, bytes]]:
    """What a cut leaves of writes that were not flushed, in their order: of each all, nothing or
    some of its sectors. One time in three a drive had written everything, or nothing."""
    mood = draw.choice(("all", "none", "some"))
    for write in writes:
        share = {"all": 1.0, "none": 0.0, "some": draw.choice((0.0, 0.5, 1.0))}[mood]
        for offset, data in sectors(write):
            if write.must_stay or draw.random() < share:
                yield offset, data


class VolatileDisk:
    """``image``: its content, which is changed in memory only. ``lost``: sectors that cuts took."""

    def __init__(self, path: Path, image: bytes) -> None:
        self.path = path
        self.flushes = 0
        self.lost = 0
        self._stable = bytearray(image)
        self._seen = bytearray(image)
        self._cache: list[Write] = []
        self._lock = threading.Lock()
        self._is_off = False
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._client: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="disk", daemon=True)

    def __enter__(self) -> Self:
        self._server.bind(str(self.path))
        self._server.listen(1)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def power_off(self) -> None:
        """From now on nothing that is written counts."""
        with self._lock:
            self._is_off = True

    def cut(self, draw: random.Random) -> int:
        """What was not flushed is lost, in part; power is back. Returns how many sectors were."""
        with self._lock:
            total = sum(len(write.data) // SECTOR_BYTES for write in self._cache)
            kept = 0
            for offset, data in survivors(self._cache, draw):
                self._stable[offset : offset + len(data)] = data
                kept += 1
            self._cache.clear()
            self._seen[:] = self._stable
            self._is_off = False
            self.lost += total - kept
            return total - kept

    def _serve(self) -> None:
        while True:
            try:
                self._client, _ = self._server.accept()
            except OSError:
                return
            with self._client, contextlib.suppress(OSError, EOFError):
                self._greet(self._client)
                while self._answer(self._client):
                    pass

    def _greet(self, client: socket.socket) -> None:
        client.sendall(b"NBDMAGIC" + struct.pack(">QH", IHAVEOPT, 3))
        _take(client, 4)
        while True:
            _, option, length = struct.unpack(">QII", _take(client, 16))
            _take(client, length)
            if option == OPT_EXPORT_NAME:
                client.sendall(struct.pack(">QH", len(self._seen), EXPORT_FLAGS))
                return
            if option == OPT_GO:
                info = struct.pack(">HQH", 0, len(self._seen), EXPORT_FLAGS)
                for kind, data in ((REP_INFO, info), (REP_ACK, b"")):
                    client.sendall(struct.pack(">QIII", REPLY, option, kind, len(data)) + data)
                return
            kind = REP_ACK if option == OPT_ABORT else REP_ERR_UNSUP
            client.sendall(struct.pack(">QIII", REPLY, option, kind, 0))

    def _answer(self, client: socket.socket) -> bool:
        _, flags, kind, handle, offset, length = struct.unpack(">IHHQQI", _take(client, 28))
        data = _take(client, length) if kind == WRITE else b""
        error, answer = 0, b""
        if kind == FLUSH:
            time.sleep(FLUSH_S)
        with self._lock:
            if self._is_off:
                return False
            if kind == READ:
                answer = bytes(self._seen[offset : offset + length])
            elif kind == WRITE:
                self._write(Write(offset, data, bool(flags & FLAG_FUA)))
            elif kind == FLUSH:
                self._flush()
            elif kind == DISCONNECT:
                return False
            else:
                error = EINVAL
        client.sendall(struct.pack(">IIQ", 0x67446698, error, handle) + answer)
        return True

    def _write(self, write: Write) -> None:
        self._seen[write.offset : write.offset + len(write.data)] = write.data
        self._cache.append(write)

    def _flush(self) -> None:
        for write in self._cache:
            self._stable[write.offset : write.offset + len(write.data)] = write.data
        self._cache.clear()
        self.flushes += 1


def _take(client: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = client.recv(min(size, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
