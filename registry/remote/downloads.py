"""One blob from a registry into the store: resumed after a cut, kept only if it is right."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from registry.blobs import BlobStore
from registry.errors import RemoteError
from registry.remote.documents import Descriptor
from registry.remote.failures import CutError
from registry.remote.http import Answer
from registry.remote.repository import Repository
from registry.remote.retrying import wait_s
from registry.remote.transfers import Transfer, Watermark

WINDOW_S = 60.0
MIN_WINDOW_BYTES = 60 * 1024
"""A registry that sends less within a window is given up: a drip would hold us for ever."""


def download(
    repository: Repository, blob: Descriptor, store: BlobStore, transfer: Transfer
) -> None:
    """Raises RemoteError; then nothing is stored."""
    received = _Received(repository, blob)
    mark = Watermark(transfer)
    failures = 0
    with store.writer() as (write, finish):
        while True:
            before = received.size_bytes
            mark.start_at(before)
            try:
                with repository.blob(blob.digest, before) as answer:
                    received.take(answer, write, mark)
                break
            except CutError as error:
                failures = 1 if received.size_bytes > before else failures + 1
                wait = wait_s(failures, error.asked_s)
                if wait is None:
                    raise
                repository.client.pause(wait)
        received.check()
        finish()


class _Received:
    """What came so far of one blob."""

    def __init__(self, repository: Repository, blob: Descriptor) -> None:
        self.size_bytes = 0
        self._host = repository.host
        self._blob = blob
        self._hashed = hashlib.sha256()

    def take(self, answer: Answer, write: Callable[[bytes], object], mark: Watermark) -> None:
        """The rest of the blob, from an answer that may begin at its start again."""
        skipped = 0 if answer.status == 206 else self.size_bytes
        self._check_range(answer)
        speed = _Speed(self._host)
        for chunk in answer.chunks():
            speed.count(len(chunk))
            if skipped:
                skipped, chunk = max(0, skipped - len(chunk)), chunk[skipped:]
            self.size_bytes += len(chunk)
            if self.size_bytes > self._blob.size_bytes:
                raise RemoteError(
                    f"{self._host} sends more than the {self._blob.size_bytes} bytes of"
                    f" {self._blob.digest}; nothing of it was kept"
                )
            self._hashed.update(chunk)
            write(chunk)
            mark.add(len(chunk))

    def check(self) -> None:
        """That it is the blob. Raises RemoteError."""
        if self.size_bytes != self._blob.size_bytes:
            raise RemoteError(
                f"{self._host} sends {self.size_bytes} bytes for {self._blob.digest}, not"
                f" {self._blob.size_bytes}; nothing of it was kept"
            )
        if f"sha256:{self._hashed.hexdigest()}" != self._blob.digest:
            raise RemoteError(
                f"{self._host} sends other bytes than those of {self._blob.digest}; nothing of it"
                " was kept"
            )

    def _check_range(self, answer: Answer) -> None:
        wanted = self._blob.size_bytes
        if answer.status == 206:
            wanted -= self.size_bytes
            begins = (answer.header("content-range") or "").strip().lower()
            if not begins.startswith(f"bytes {self.size_bytes}-"):
                raise RemoteError(
                    f"{self._host} sends another part of {self._blob.digest} than it was asked for"
                )
        if answer.size_bytes not in (None, wanted):
            raise RemoteError(
                f"{self._host} says that {self._blob.digest} has {answer.size_bytes} bytes where"
                f" {wanted} are due"
            )


class _Speed:
    """Notices a drip. Its time is real: it guards a real socket."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._since = time.monotonic()
        self._size_bytes = 0

    def count(self, size_bytes: int) -> None:
        self._size_bytes += size_bytes
        now = time.monotonic()
        if now - self._since < WINDOW_S:
            return
        if self._size_bytes < MIN_WINDOW_BYTES:
            raise RemoteError(f"{self._host} sends too slowly: under 1 kB/s; try again later")
        self._since, self._size_bytes = now, 0
