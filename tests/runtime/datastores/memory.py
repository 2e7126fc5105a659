"""``Files`` in memory, which can lose its connection."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from runtime.datastores.errors import ClashError, LostConnectionError, MissingFileError
from runtime.datastores.port import Content, Item

CHUNK = 10


@dataclass(slots=True)
class MemoryFiles:
    """``losses``: how often each path loses its connection, when it is read or written; ``listed``:
    what it lists instead of what there is."""

    files: dict[str, bytes] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)
    has_digests: bool = True
    has_times: bool = False
    wants_digest: bool = False
    listed: list[Item] | None = None
    written: list[Content] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    loses_answers: bool = False

    def list(self, prefix: str, after: str = "") -> Iterator[Item]:
        yield from self.listed or [self._item(path) for path in sorted(self.files)]

    def stat(self, path: str) -> Item | None:
        return self._item(path) if path in self.files else None

    def read(self, item: Item, offset: int) -> Iterator[bytes]:
        if item.path not in self.files:
            raise MissingFileError(f"there is no {item.path}")
        self.offsets.append(offset)
        data = self.files[item.path]
        while offset < len(data):
            yield data[offset : offset + CHUNK]
            offset += CHUNK
            self._lose(item.path)

    def write(self, content: Content, *, replace: bool) -> None:
        if content.path in self.files and not replace:
            raise ClashError(f"{content.path} is there already", [content.path])
        data = b"".join(content.chunks())
        if not self.loses_answers:
            self._lose(content.path)
        self.files[content.path] = data
        self.written.append(content)
        self._lose(content.path)

    def delete(self, path: str) -> None:
        del self.files[path]

    def close(self) -> None: ...

    def _lose(self, path: str) -> None:
        if self.losses.get(path, 0) > 0:
            self.losses[path] -= 1
            raise LostConnectionError("lost")

    def _item(self, path: str) -> Item:
        digest = f"sha256:{hashlib.sha256(self.files[path]).hexdigest()}"
        return Item(path, len(self.files[path]), 1000.0, digest if self.has_digests else None, None)
