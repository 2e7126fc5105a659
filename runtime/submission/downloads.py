"""Fetches files from the target, one after the other, while all else goes on."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from registry.tree import SourceFile
from runtime.submission.frames import Frame
from runtime.submitted.layout import BEGIN_FRAME, DATA_FRAME

AT_ONCE = 16
"""Requests that may wait for their answer: they fit into a pipe."""

Found = Mapping[str, SourceFile]
Failed = Mapping[str, str]


@dataclass(slots=True)
class _Job:
    """``left``: files still to come."""

    done: Callable[[Found, Failed], None]
    left: int
    found: dict[str, SourceFile] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Item:
    job: _Job
    key: str
    path: str


class Downloads:
    """``folder``: for the files, each of which is removed once its job is done."""

    def __init__(self, folder: Path, ask: Callable[[Mapping[str, Any]], None]) -> None:
        self._folder = folder
        self._ask = ask
        self._waiting: deque[_Item] = deque()
        self._asked: deque[_Item] = deque()
        self._count = 0
        self._file: IO[bytes] | None = None
        self._place = folder / "0"

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to come."""
        return not self._waiting and not self._asked

    def add(self, paths: Mapping[str, str], done: Callable[[Found, Failed], None]) -> None:
        """Fetch each file at a path there; ``done`` gets by key what came, and in words what did
        not."""
        job = _Job(done, len(paths))
        if not paths:
            done({}, {})
        self._waiting.extend(_Item(job, key, path) for key, path in paths.items())
        self.ask_more()

    def ask_more(self) -> None:
        """As many as may wait at once."""
        while self._waiting and len(self._asked) < AT_ONCE:
            item = self._waiting.popleft()
            self._asked.append(item)
            self._ask({"do": "get", "path": item.path})

    def again(self) -> None:
        """The connection is a new one: what was asked for on the old one does not come."""
        self._discard()
        self._waiting.extendleft(reversed(self._asked))
        self._asked.clear()
        self.ask_more()

    def take(self, frame: Frame) -> None:
        """A part of the file that was asked for first."""
        if not self._asked:
            return
        if frame.letter == BEGIN_FRAME:
            self._discard()
            self._count += 1
            self._place = self._folder / str(self._count)
            self._file = self._place.open("xb")
        elif frame.letter == DATA_FRAME:
            if self._file is not None:
                self._file.write(frame.data)
        else:
            self._end(self._asked.popleft(), json.loads(frame.data or b"{}").get("error"))
            self.ask_more()

    def close(self) -> None:
        """What is half done goes."""
        self._discard()

    def _end(self, item: _Item, error: str | None) -> None:
        job = item.job
        if self._file is None or error is not None:
            job.failed[item.key] = error or "it did not come"
            self._discard()
        else:
            size = self._file.tell()
            job.found[item.key] = SourceFile(self._place.name, self._folder, size)
        self._close()
        job.left -= 1
        if job.left == 0:
            try:
                job.done(job.found, job.failed)
            finally:
                for file in job.found.values():
                    (file.root / file.path).unlink(missing_ok=True)

    def _discard(self) -> None:
        if self._file is not None:
            self._place.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
