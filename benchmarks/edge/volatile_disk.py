"""A disk with a cache that forgets, for a virtual machine: an NBD server on a Unix socket.

What is written is in its cache until the machine says flush. When the power is cut, any part of
the cache may have reached the disk, in any order, block by block: the harshest that a disk which
keeps its word about flushes may do.

    with VolatileDisk(image, socket, seed=1) as disk:
        ...                     # a machine runs with nbd+unix:///?socket=...
        lost, kept = disk.cut_power()
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import threading
from pathlib import Path

BLOCK = 4096
MAGIC, OPTION_MAGIC, REPLY_MAGIC = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
REQUEST_MAGIC, ANSWER_MAGIC = 0x25609513, 0x67446698
OPT_EXPORT_NAME, OPT_ABORT, OPT_INFO, OPT_GO = 1, 2, 6, 7
REP_ACK, REP_INFO, REP_UNSUPPORTED = 1, 3, 2**31 + 1
HAS_FLAGS, SEND_FLUSH, SEND_FUA = 1, 4, 8
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FUA = 1


class VolatileDisk:
    """``flushes``: how often the machine asked for durability. ``lies``: it does nothing then,
    but says that it did."""

    def __init__(self, image: Path, address: Path, seed: int, *, lies: bool = False) -> None:
        self._lies = lies
        self.flushes = 0
        self._file = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        self._size_bytes = os.fstat(self._file).st_size
        self._dice = random.Random(seed)
        self._cache: dict[int, list[bytes]] = {}
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        address.unlink(missing_ok=True)
        self._listener.bind(str(address))
        self._listener.listen(4)
        self._thread = threading.Thread(target=self._accept, name="disk", daemon=True)
        self._thread.start()

    def __enter__(self) -> VolatileDisk:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        os.close(self._file)

    def cut_power(self) -> tuple[int, int]:
        """The machine is off already. How many blocks of the cache are lost, or of an older state,
        and how many are not."""
        with self._lock:
            lost = kept = 0
            for block, versions in self._cache.items():
                chosen = self._dice.randrange(-1, len(versions))
                if chosen >= 0:
                    os.pwrite(self._file, versions[chosen], block * BLOCK)
                if chosen == len(versions) - 1:
                    kept += 1
                else:
                    lost += 1
            self._cache.clear()
            return lost, kept

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                with link, contextlib.suppress(OSError, EOFError):
                    if self._negotiate(link):
                        self._serve(link)

    def _negotiate(self, link: socket.socket) -> bool:
        export = struct.pack(">QH", self._size_bytes, HAS_FLAGS | SEND_FLUSH | SEND_FUA)
        link.sendall(MAGIC + OPTION_MAGIC + struct.pack(">H", 3))
        _exactly(link, 4)
        while True:
            _, option, length = struct.unpack(">8sII", _exactly(link, 16))
            _exactly(link, length)
            if option == OPT_EXPORT_NAME:
                link.sendall(export)
                return True
            if option in (OPT_INFO, OPT_GO):
                _reply(link, option, REP_INFO, b"\0\0" + export)
                _reply(link, option, REP_ACK)
                if option == OPT_GO:
                    return True
            elif option == OPT_ABORT:
                _reply(link, option, REP_ACK)
                return False
            else:
                _reply(link, option, REP_UNSUPPORTED)

    def _serve(self, link: socket.socket) -> None:
        while True:
            _, flags, kind, handle, offset, length = struct.unpack(">IHHQQI", _exactly(link, 28))
            data = b""
            if kind == DISCONNECT:
                return
            if kind == WRITE:
                self._write(offset, _exactly(link, length))
            elif kind == READ:
                data = self._read(offset, length)
            if kind == FLUSH or flags & FUA:
                self._flush()
            link.sendall(struct.pack(">IIQ", ANSWER_MAGIC, 0, handle) + data)

    def _read(self, offset: int, length: int) -> bytes:
        with self._lock:
            data = bytearray(os.pread(self._file, length, offset))
            for block in range(offset // BLOCK, (offset + length + BLOCK - 1) // BLOCK):
                versions = self._cache.get(block)
                if versions:
                    start = block * BLOCK - offset
                    low, high = max(0, start), min(length, start + BLOCK)
                    data[low:high] = versions[-1][low - start : high - start]
            return bytes(data)

    def _write(self, offset: int, data: bytes) -> None:
        assert offset % BLOCK == 0, "the machine knows the size of a block"
        assert len(data) % BLOCK == 0, "the machine knows the size of a block"
        with self._lock:
            for start in range(0, len(data), BLOCK):
                versions = self._cache.setdefault((offset + start) // BLOCK, [])
                versions.append(data[start : start + BLOCK])
                del versions[:-4]

    def _flush(self) -> None:
        with self._lock:
            self.flushes += 1
            if self._lies:
                return
            for block, versions in self._cache.items():
                os.pwrite(self._file, versions[-1], block * BLOCK)
            self._cache.clear()


def _exactly(link: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        piece = link.recv(count - len(parts))
        if not piece:
            raise EOFError
        parts += piece
    return bytes(parts)


def _reply(link: socket.socket, option: int, kind: int, data: bytes = b"") -> None:
    link.sendall(struct.pack(">QIII", REPLY_MAGIC, option, kind, len(data)) + data)
