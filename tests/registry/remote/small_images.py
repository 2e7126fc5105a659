"""Small images in a store of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from registry import media_types
from registry.blobs import BlobStore
from registry.container_config import encoded
from registry.layers import bytes_entry, write_layer
from registry.paths import WorkspacePaths

SBOM = "application/vnd.cyclonedx+json"


def new_store(root: Path) -> BlobStore:
    """An empty one."""
    store = BlobStore(WorkspacePaths(root))
    store.create()
    return store


def blobs_in(store: BlobStore) -> set[str]:
    """All digests that are there; a file that is still being written counts as ``upload``."""
    uploads = {"upload" for _ in store.paths.uploads.iterdir()}
    return uploads | {f"sha256:{path.name}" for path in store.paths.blobs.iterdir()}


def nothing(count: int) -> None:
    """Progress that nobody watches."""


def put_image(
    store: BlobStore,
    layers: Sequence[bytes],
    *,
    architecture: str = "amd64",
    changes: Mapping[str, Any] | None = None,
) -> str:
    """The digest of a new image whose layers hold one file each."""
    written = [
        write_layer(store, [bytes_entry(f"opt/file{n}", data)], nothing, compress=False)
        for n, data in enumerate(layers)
    ]
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in written]},
    }
    digest, size = store.put([encoded(config)])
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "config": {"mediaType": media_types.CONFIG, "digest": digest, "size": size},
        "layers": [
            {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size_bytes}
            for layer in written
        ],
        **(changes or {}),
    }
    return store.put([encoded(manifest)])[0]


def put_index(store: BlobStore, images: Mapping[str, str]) -> str:
    """The digest of an index; ``images``: architecture to digest."""
    entries = [
        {
            "mediaType": media_types.MANIFEST,
            "digest": digest,
            "size": len(store.read(digest)),
            "platform": {"os": "linux", "architecture": architecture},
        }
        for architecture, digest in images.items()
    ]
    index = {"schemaVersion": 2, "mediaType": media_types.INDEX, "manifests": entries}
    return store.put([encoded(index)])[0]


def put_referrer(store: BlobStore, subject: str, content: bytes, kind: str = SBOM) -> str:
    """The digest of a manifest that refers to ``subject``."""
    empty, empty_size = store.put([b"{}"])
    blob, blob_size = store.put([content])
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "artifactType": kind,
        "config": {"mediaType": media_types.EMPTY, "digest": empty, "size": empty_size},
        "layers": [{"mediaType": kind, "digest": blob, "size": blob_size}],
        "subject": {
            "mediaType": media_types.MANIFEST,
            "digest": subject,
            "size": len(store.read(subject)),
        },
    }
    return store.put([encoded(manifest)])[0]
