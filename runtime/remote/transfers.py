"""Files up and down, resumed where they were cut.

sent = Transfers(client).send(tree.walk(folder))            # what is not there yet
for chunk in Transfers(client).fetch(routes.download, {...}, digest): ...
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from registry.blobs import CHUNK_BYTES, file_chunks
from registry.errors import DamagedBlobError, WorkspaceBusyError
from registry.tree import SourceFile
from runtime.errors import ServiceError
from runtime.remote.client import WAITS_S, ServiceClient
from runtime.workspace_service.routes import uploads
from runtime.workspace_service.routes.uploads import UploadState
from runtime.workspace_service.sent_file import SentFile

Progress = Callable[[int, int], None]
ASKED_AT_ONCE = 1000


class Transfers:
    """For one service."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def send(
        self,
        files: Sequence[SourceFile],
        on_progress: Progress | None = None,
        *,
        again: bool = False,
    ) -> list[SentFile]:
        """Upload what the service does not have; with ``again`` all, which mends what is damaged
        there. Raises ServiceError, StoreFullError."""
        digests = [_digest(file) for file in files]
        known = set() if again else self._known(digests)
        counted = _Counted(sum(file.size_bytes for file in files), on_progress)
        for file, digest in zip(files, digests, strict=True):
            if digest in known:
                counted.add(file.size_bytes)
            else:
                self._send(file, digest, counted)
                known.add(digest)
        return [
            SentFile(file.path, digest, file.is_executable)
            for file, digest in zip(files, digests, strict=True)
        ]

    def fetch(
        self, function: Callable[..., Any], given: Mapping[str, object], digest: str
    ) -> Iterator[bytes]:
        """What a route answers with, piece by piece. Raises DamagedBlobError at its end when it is
        not what the digest says."""
        hashed, offset, tries = hashlib.sha256(), 0, 0
        while True:
            headers = {"Range": f"bytes={offset}-"} if offset else {}
            try:
                with self._client.stream(function, given, headers=headers) as answer:
                    for chunk in answer.iter_raw(CHUNK_BYTES):
                        hashed.update(chunk)
                        offset, tries = offset + len(chunk), 0
                        yield chunk
                break
            except ServiceError as error:
                if not error.is_passing or tries == len(WAITS_S):
                    raise
                self._client.wait(WAITS_S[tries])
                tries += 1
        if f"sha256:{hashed.hexdigest()}" != digest:
            raise DamagedBlobError(digest)

    def _known(self, digests: Sequence[str]) -> set[str]:
        wanted = list(dict.fromkeys(digests))
        found: set[str] = set()
        for start in range(0, len(wanted), ASKED_AT_ONCE):
            some = tuple(wanted[start : start + ASKED_AT_ONCE])
            found.update(self._client.ask(uploads.find, digests=some))
        return found

    def _send(self, file: SourceFile, digest: str, counted: _Counted) -> None:
        """Each try begins where the one before was cut; it is given up when nothing comes of it."""
        start, tries, before = counted.done, 0, -1
        while True:
            offset = self._client.ask(uploads.get, digest=digest).offset
            tries, before = (tries + 1 if offset <= before else 0), max(offset, before)
            counted.done = start
            counted.add(offset)
            try:
                if self._put(file, digest, offset, counted).is_whole:
                    return
            except WorkspaceBusyError:
                pass
            except ServiceError as error:
                if not error.is_passing or tries >= len(WAITS_S):
                    raise
            if tries >= len(WAITS_S):
                raise ServiceError(f"the service does not take '{file.path}'; try again")
            self._client.wait(WAITS_S[tries])

    def _put(self, file: SourceFile, digest: str, offset: int, counted: _Counted) -> UploadState:
        return self._client.send(
            uploads.put,
            _rest(file, offset, counted),
            file.size_bytes - offset,
            digest=digest,
            size=file.size_bytes,
            offset=offset,
        )


class _Counted:
    """Bytes done of a total, told to whom it concerns."""

    def __init__(self, total: int, on_progress: Progress | None) -> None:
        self.done = 0
        self._total = total
        self._on_progress = on_progress

    def add(self, count: int) -> None:
        self.done += count
        if self._on_progress is not None:
            self._on_progress(min(self.done, self._total), self._total)


def _digest(file: SourceFile) -> str:
    hashed = hashlib.sha256()
    with file.open() as opened:
        for chunk in file_chunks(opened):
            hashed.update(chunk)
    return f"sha256:{hashed.hexdigest()}"


def _rest(file: SourceFile, offset: int, counted: _Counted) -> Iterator[bytes]:
    """What follows ``offset``. All of the file is read: it must be the one that was hashed."""
    position = 0
    with file.open() as opened:
        for chunk in file_chunks(opened):
            position += len(chunk)
            if position > offset:
                new = chunk[max(0, len(chunk) - (position - offset)) :]
                counted.add(len(new))
                yield new
