"""One blob from the store to a registry (distribution-spec, "Pushing Blobs").

In one PUT if that goes; after a cut, or where a registry or its proxy takes only small requests, in
pieces from where the registry says it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import IO

from registry.blobs import BlobStore
from registry.errors import RemoteError
from registry.remote.client import Request
from registry.remote.documents import Descriptor
from registry.remote.http import Answer, Body
from registry.remote.repository import Repository
from registry.remote.retrying import TransientError, wait_s
from registry.remote.transfers import Watermark
from registry.remote.urls import Url, with_query

PIECE_BYTES = 8 * 1024 * 1024
"""Of a registry that finds a whole blob too large; it may name a larger least size."""
MAX_PIECE_BYTES = 1024 * 1024 * 1024
SENT_BYTES = 128 * 1024
OCTETS = {"Content-Type": "application/octet-stream"}
TOO_LARGE = 413
LOST = frozenset({400, 404, 416})
"""What a registry answers about an upload that it no longer goes on with."""
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,15})")


class Upload:
    """Sends one blob; ``bytes_sent`` is what went over the wire."""

    def __init__(
        self,
        repository: Repository,
        blob: Descriptor,
        store: BlobStore,
        mark: Watermark,
        mount_from: str | None = None,
    ) -> None:
        self.bytes_sent = 0
        self._repository = repository
        self._blob = blob
        self._store = store
        self._mark = mark
        self._mount_from = mount_from
        self._offset = 0
        self._piece_bytes: int | None = None

    def run(self) -> bool:
        """Whether it had to be sent: no if the registry took it from ``mount_from``. Raises
        RemoteError, DamagedBlobError."""
        url = self._begin(self._mount_from)
        if url is None:
            return False
        failures, best = 0, 0
        while True:
            try:
                self._send(url)
                return True
            except RemoteError as error:
                failures, best = (failures + 1, best) if self._offset <= best else (1, self._offset)
                url = self._after(error, url, failures)
            if url is None:
                return True

    def _after(self, error: RemoteError, url: Url, failures: int) -> Url | None:
        """Where to go on after that; None if the registry has the blob."""
        is_too_large = error.status == TOO_LARGE and self._piece_bytes is None
        asked_s = error.asked_s if isinstance(error, TransientError) else None
        wait = wait_s(failures, asked_s)
        is_lost = error.status in LOST and self._offset > 0
        if wait is None or not (is_too_large or is_lost or isinstance(error, TransientError)):
            raise error
        if is_too_large:
            self._piece_bytes = PIECE_BYTES
        else:
            self._repository.client.pause(wait)
            if self._repository.has_blob(self._blob.digest, self._blob.size_bytes):
                return None  # only the answer was lost
        # docker-registry 2.8 forgets an upload that was cut; others, ours too, go on.
        resumed = None if is_lost else self._resumed(url)
        return resumed or self._begin(None)

    def _begin(self, mount_from: str | None) -> Url | None:
        """A new upload; None if the blob was mounted."""
        target = self._repository.url("blobs/uploads/")
        scopes = self._repository.push_scope
        if mount_from is not None:
            target += f"?mount={self._blob.digest}&from={mount_from}"
            scopes = (*scopes, f"repository:{mount_from}:pull")
        request = Request("POST", target, scopes, self._what, frozenset({201, 202}))
        with self._repository.client.send(request) as answer:
            if answer.status == 201:
                if mount_from is None:
                    raise RemoteError(
                        f"{self._repository.host} says that it has {self._blob.digest} before it"
                        " was sent"
                    )
                return None
            self._offset = 0
            self._learn(answer)
            return self._next(answer)

    def _send(self, url: Url) -> None:
        if self._offset == 0 and self._piece_bytes is None:
            body = Body(self._blob.size_bytes, self._whole)
        else:
            url = self._pieces(url)
            body = Body(0, lambda: iter(()))
        request = self._request(
            "PUT", with_query(url, "digest", self._blob.digest), body, frozenset({201, 204})
        )
        with self._repository.client.send(request):
            pass

    def _pieces(self, url: Url) -> Url:
        with self._store.open(self._blob.digest) as file:
            while self._offset < self._blob.size_bytes:
                size = self._blob.size_bytes - self._offset
                size = min(size, self._piece_bytes or size)
                url = self._piece(url, file, size)
        return url

    def _piece(self, url: Url, file: IO[bytes], size: int) -> Url:
        start = self._offset
        request = self._request(
            "PATCH",
            url,
            Body(size, lambda: self._part(file, start, size)),
            frozenset({202, 204}),
        )
        request = replace(
            request, headers={**OCTETS, "Content-Range": f"{start}-{start + size - 1}"}
        )
        with self._repository.client.send(request) as answer:
            self._offset = _there(answer) or start + size
            if not start < self._offset <= start + size:
                raise RemoteError(
                    f"{self._repository.host} lost its place in the upload of {self._blob.digest}"
                )
            return self._next(answer)

    def _resumed(self, url: Url) -> Url | None:
        """Where the registry wants the rest; None if it does not know the upload any more."""
        request = self._request("GET", url, None, frozenset({200, 202, 204, 400, 404, 405, 416}))
        with self._repository.client.send(replace(request, is_repeatable=True)) as answer:
            there = _there(answer)
            if answer.status >= 400 or there is None or there > self._blob.size_bytes:
                return None
            self._offset = there
            return self._next(answer) if answer.header("location") else url

    def _request(
        self, method: str, url: Url, body: Body | None, expected: frozenset[int]
    ) -> Request:
        return Request(
            method,
            url,
            self._repository.push_scope,
            self._what,
            expected,
            OCTETS if body is not None else {},
            body,
            is_repeatable=False,
        )

    def _next(self, answer: Answer) -> Url:
        return self._repository.client.location(answer.url, answer.header("location"))

    def _learn(self, answer: Answer) -> None:
        """A registry that names a least size of pieces is not sent smaller ones."""
        least = answer.header("oci-chunk-min-length") or ""
        if self._piece_bytes is not None and least.isascii() and least.isdigit():
            self._piece_bytes = max(self._piece_bytes, min(int(least[:12]), MAX_PIECE_BYTES))

    def _whole(self) -> Iterator[bytes]:
        """Verified at its end: a damaged one breaks the request off before it is complete."""
        self._mark.start_at(0)
        for chunk in self._store.chunks(self._blob.digest):
            for begin in range(0, len(chunk), SENT_BYTES):
                yield self._counted(chunk[begin : begin + SENT_BYTES])

    def _part(self, file: IO[bytes], start: int, size: int) -> Iterator[bytes]:
        self._mark.start_at(start)
        file.seek(start)
        while size > 0:
            chunk = file.read(min(size, SENT_BYTES))
            size -= len(chunk)
            yield self._counted(chunk)

    def _counted(self, chunk: bytes) -> bytes:
        self.bytes_sent += len(chunk)
        self._mark.add(len(chunk))
        return chunk

    @property
    def _what(self) -> str:
        return f"the upload of {self._blob.digest} to {self._repository.path}"


def _there(answer: Answer) -> int | None:
    """How many bytes the registry has, by its Range header; docker-registry says 0-0 for none."""
    found = _RANGE.fullmatch((answer.header("range") or "").strip())
    if found is None:
        return None
    last = int(found[1])
    return last + 1 if last else 0
