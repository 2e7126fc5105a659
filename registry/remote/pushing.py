"""An image of the store to another registry: only what is not there yet.

report = push_image("registry.example/team/digits:1", image.digest, store, on_bytes,
                    referrers=[signature, sbom])
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from registry.blobs import BlobStore
from registry.errors import RemoteError
from registry.remote.documents import Descriptor, Document, blobs_of, manifests_of
from registry.remote.options import USUAL, RemoteOptions
from registry.remote.reference import ImageReference, is_path, parse_image_reference
from registry.remote.referrers import push_referrer, stored_manifest
from registry.remote.repository import Repository
from registry.remote.transfers import OnBytes, Transfer, Watermark
from registry.remote.uploads import Upload

AT_A_TIME = 2


@dataclass(frozen=True, slots=True)
class PushReport:
    """``bytes_sent``: of blobs and manifests, those sent again after a cut included.
    ``blobs_skipped``: the registry had them, or took them from another repository."""

    digest: str
    blobs_sent: int
    bytes_sent: int
    blobs_skipped: int


def push_image(
    reference: ImageReference | str,
    manifest_digest: str,
    store: BlobStore,
    on_bytes: OnBytes,
    *,
    referrers: Sequence[str] = (),
    mounts: Mapping[str, str] | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_total: OnBytes | None = None,
    options: RemoteOptions = USUAL,
) -> PushReport:
    """Blobs, then the manifest (or index, with what it names) by digest and by tag, then the
    manifests that refer to it. ``mounts``: of blobs by digest, a repository of the same registry
    that may have them. ``on_total`` is told once the bytes of blobs to send. Raises
    InvalidNameError, RemoteError, CancelledError, DamagedBlobError."""
    found = parse_image_reference(reference) if isinstance(reference, str) else reference
    if found.digest not in (None, manifest_digest):
        raise RemoteError(f"{found} names another digest than the image's, {manifest_digest}")
    transfer = Transfer(on_bytes, cancelled)
    documents = _documents(store, manifest_digest)
    extra = [_document(store, digest) for digest in referrers]
    with options.client(found, transfer.is_stopped) as client:
        push = _Push(Repository(client, found), store, transfer, mounts or {})
        push.blobs([*documents, *extra], on_total)
        for document in documents:
            push.manifest(document.digest, document)
        if found.tag is not None:
            push.manifest(found.tag, documents[-1])
        for document in extra:
            client.check()
            push.count(push_referrer(push.repository, document.data))
    return PushReport(manifest_digest, push.blobs_sent, push.bytes_sent, push.blobs_skipped)


class _Push:
    """What was sent so far."""

    def __init__(
        self,
        repository: Repository,
        store: BlobStore,
        transfer: Transfer,
        mounts: Mapping[str, str],
    ) -> None:
        self.repository = repository
        self.blobs_sent = self.blobs_skipped = self.bytes_sent = 0
        self._store = store
        self._transfer = transfer
        self._mounts = {k: v for k, v in mounts.items() if is_path(v) and v != repository.path}
        self._lock = threading.Lock()

    def blobs(self, documents: Sequence[Document], on_total: OnBytes | None) -> None:
        """Sends those of all documents that the registry lacks."""
        needed: dict[str, Descriptor] = {}
        for document in documents:
            if not document.is_index:
                config, layers = blobs_of(document, document.digest)
                needed |= {blob.digest: blob for blob in (config, *layers)}
        missing: list[Descriptor] = []
        self._transfer.run(
            [lambda blob=blob: self._look(blob, missing) for blob in needed.values()],  # type: ignore[misc]
            AT_A_TIME,
        )
        if on_total is not None:
            on_total(sum(blob.size_bytes for blob in missing))
        # Large ones first: the last one to end alone is then a small one.
        missing.sort(key=lambda blob: (-blob.size_bytes, blob.digest))
        self._transfer.run([lambda blob=blob: self._send(blob) for blob in missing], AT_A_TIME)  # type: ignore[misc]

    def manifest(self, target: str, document: Document) -> None:
        """Under a digest or tag."""
        self.repository.client.check()
        self.repository.put_manifest(target, document.data, document.media_type)
        self.count(len(document.data))

    def count(self, size_bytes: int) -> None:
        """So many bytes were sent."""
        with self._lock:
            self.bytes_sent += size_bytes

    def _look(self, blob: Descriptor, missing: list[Descriptor]) -> None:
        self.repository.client.check()
        is_there = self.repository.has_blob(blob.digest, blob.size_bytes)
        with self._lock:
            if is_there:
                self.blobs_skipped += 1
            else:
                missing.append(blob)

    def _send(self, blob: Descriptor) -> None:
        self.repository.client.check()
        source = self._mounts.get(blob.digest)
        upload = Upload(self.repository, blob, self._store, Watermark(self._transfer), source)
        was_sent = upload.run()
        with self._lock:
            self.bytes_sent += upload.bytes_sent
            self.blobs_sent += was_sent
            self.blobs_skipped += not was_sent


def _document(store: BlobStore, digest: str) -> Document:
    return stored_manifest(store.read(digest), digest)


def _documents(store: BlobStore, digest: str) -> list[Document]:
    """The manifest; of an index first the manifests that it names."""
    top = _document(store, digest)
    if not top.is_index:
        return [top]
    return [*(_document(store, entry.digest) for entry in manifests_of(top, digest)), top]
