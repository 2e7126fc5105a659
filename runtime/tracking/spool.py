"""What a run logs while nobody takes it: beyond a bound in memory it waits in a file.

    spool.put(item)
    spool.take()        # the oldest ones, in the order in which they came

The file has no name that anybody needs to know: it is gone with the process. What is left at the
end of a script is kept by unsent.py.
"""

from __future__ import annotations

import tempfile
from typing import BinaryIO, cast

from registry.tracking import Point, Value

Item = Point | Value
CHUNK = 5_000
"""Items that are written and read at once."""
MAX_BYTES = 4 * 1024**3
LENGTH_BYTES = 8


class Spool:
    """First in, first out."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._file: BinaryIO | None = None
        self._read_at = self._written_to = 0
        self._newest: list[Item] = []
        self._chars = 0

    def __bool__(self) -> bool:
        """Whether there is something."""
        return bool(self._newest) or self._read_at < self._written_to

    def put(self, item: Item) -> bool:
        """Keep it; False where there is no room."""
        self._newest.append(item)
        self._chars += len(item[3]) if isinstance(item[3], str) else 0
        if len(self._newest) < CHUNK and self._chars < 16 * 1024 * 1024:
            return True
        if self._write():
            return True
        self._newest.pop()
        return False

    def take(self) -> list[Item]:
        """The oldest ones; none where there is nothing."""
        if self._file is None or self._read_at == self._written_to:
            taken, self._newest, self._chars = self._newest, [], 0
            return taken
        import msgspec

        self._file.seek(self._read_at)
        size = int.from_bytes(self._file.read(LENGTH_BYTES), "little")
        found = msgspec.msgpack.decode(self._file.read(size))
        self._read_at += LENGTH_BYTES + size
        if self._read_at == self._written_to:
            self._file.truncate(0)
            self._read_at = self._written_to = 0
        return [cast(Item, tuple(item)) for item in found]

    def forget(self) -> None:
        """In a process that was forked off: all is the parent's."""
        if self._file is not None:
            self._file.close()
        self._file, self._newest, self._chars = None, [], 0
        self._read_at = self._written_to = 0

    def _write(self) -> bool:
        import msgspec

        data = msgspec.msgpack.encode(self._newest)
        if self._written_to + LENGTH_BYTES + len(data) > self._max_bytes:
            return False
        try:
            if self._file is None:
                self._file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115
            self._file.seek(self._written_to)
            self._file.write(len(data).to_bytes(LENGTH_BYTES, "little") + data)
            self._file.flush()
        except OSError:
            return False
        self._written_to += LENGTH_BYTES + len(data)
        self._newest, self._chars = [], 0
        return True
