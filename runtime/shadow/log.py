"""The mirror's log, in HAProxy's folder."""

from __future__ import annotations

import os
from pathlib import Path

MOST_BYTES = 1 << 20


class LogFile:
    """To append to; one that grew too long begins anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self._path, flags, 0o600)
        if os.fstat(self._descriptor).st_size > MOST_BYTES:
            os.ftruncate(self._descriptor, 0)
        return self._descriptor

    def __exit__(self, *error: object) -> None:
        os.close(self._descriptor)


def last_line(path: Path) -> str:
    """Of a log; nothing where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
            lines = file.read(2000).decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return "".join(one for one in said if one.isprintable())[:200]
