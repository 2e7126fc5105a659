"""An image from another registry into the store, every byte verified.

    pulled = pull_image("registry.example/team/base:1", Platform("amd64"), store, on_bytes)

Run it within ``publishing``: when it fails, blobs that were whole by then are in the store, without
a manifest that names them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from registry.blobs import BlobStore
from registry.errors import RemoteError
from registry.platforms import Platform
from registry.remote import documents
from registry.remote.documents import Descriptor, Document
from registry.remote.downloads import download
from registry.remote.options import USUAL, RemoteOptions
from registry.remote.reference import ImageReference, parse_image_reference
from registry.remote.repository import Repository
from registry.remote.transfers import Job, OnBytes, Transfer

AT_A_TIME = 3


@dataclass(frozen=True, slots=True)
class PulledImage:
    """An image whose manifest, config and layers are in the store."""

    digest: str
    manifest: dict[str, Any]
    manifest_bytes: bytes
    config: dict[str, Any]


def pull_image(
    reference: ImageReference | str,
    platform: Platform,
    store: BlobStore,
    on_bytes: OnBytes,
    *,
    cancelled: Callable[[], bool] | None = None,
    on_total: OnBytes | None = None,
    options: RemoteOptions = USUAL,
) -> PulledImage:
    """The image for ``platform``. Blobs that the store has whole are not fetched; ``on_total`` is
    told once how many bytes are. Raises InvalidNameError, RemoteError, CancelledError."""
    found = _parsed(reference)
    transfer = Transfer(on_bytes, cancelled)
    with options.client(found, transfer.is_stopped) as client:
        repository = Repository(client, found)
        document = _manifest_for(repository, found.target, platform)
        what = repository.name(found.target)
        config, layers = documents.image_blobs(document, what)
        blobs = {blob.digest: blob for blob in (config, *layers)}
        missing = [blob for blob in blobs.values() if not _has(store, blob, what)]
        if on_total is not None:
            on_total(sum(blob.size_bytes for blob in missing))
        # The config first: it is small, and says whether the layers are wanted.
        configs = [blob for blob in missing if blob.digest == config.digest]
        transfer.run([_job(repository, blob, store, transfer) for blob in configs], 1)
        config_fields = documents.parse_object(store.read(config.digest), f"the config of {what}")
        documents.check_config(config_fields, platform, len(layers), what)
        rest = [blob for blob in missing if blob.digest != config.digest]
        transfer.run([_job(repository, blob, store, transfer) for blob in rest], AT_A_TIME)
        client.check()
    store.put([document.data])
    return PulledImage(document.digest, dict(document.fields), document.data, config_fields)


def pull_manifest_bytes(
    reference: ImageReference | str,
    *,
    cancelled: Callable[[], bool] | None = None,
    options: RemoteOptions = USUAL,
) -> tuple[bytes, str]:
    """The manifest or index as the registry has it, verified, and its media type."""
    found = _parsed(reference)
    with options.client(found, cancelled or _never) as client:
        document = Repository(client, found).manifest(found.target)
    return document.data, document.media_type


def list_tags(
    reference: ImageReference | str,
    *,
    cancelled: Callable[[], bool] | None = None,
    options: RemoteOptions = USUAL,
) -> list[str]:
    """All tags of the reference's repository."""
    found = _parsed(reference)
    with options.client(found, cancelled or _never) as client:
        return Repository(client, found).tags()


def _manifest_for(repository: Repository, target: str, platform: Platform) -> Document:
    document = repository.manifest(target)
    if not document.is_index:
        return document
    chosen = documents.for_platform(document, platform, repository.name(target))
    manifest = repository.manifest(chosen.digest)
    if manifest.is_index:
        raise RemoteError(f"{repository.name(target)} names an index where a manifest is due")
    return manifest


def _has(store: BlobStore, blob: Descriptor, what: str) -> bool:
    if not store.renew(blob.digest):
        return False
    size = store.paths.blob(blob.digest).stat().st_size
    if size != blob.size_bytes:
        raise RemoteError(f"{what} gives {blob.digest} a size of {blob.size_bytes}; it has {size}")
    return True


def _job(repository: Repository, blob: Descriptor, store: BlobStore, transfer: Transfer) -> Job:
    return lambda: download(repository, blob, store, transfer)


def _parsed(reference: ImageReference | str) -> ImageReference:
    return parse_image_reference(reference) if isinstance(reference, str) else reference


def _never() -> bool:
    return False
