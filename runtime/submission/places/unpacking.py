"""Makes the folder of a run of a tar."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast


def unpack(chunks: Iterable[bytes], folder: Path) -> None:
    """Raises OSError."""
    folder.mkdir(mode=0o700, parents=True)
    with tarfile.open(fileobj=cast(Any, _Chunks(chunks)), mode="r|") as tar:
        tar.extractall(folder, filter="data")


class _Chunks:
    """To be read like a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """As many bytes, but at the end."""
        parts = [self._rest]
        have = len(self._rest)
        while have < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
            have += len(chunk)
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]
