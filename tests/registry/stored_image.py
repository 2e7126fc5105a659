"""A small container image in a store, made by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from registry import media_types
from registry.blobs import BlobStore, file_chunks
from registry.layers import Layer, bytes_entry, write_layer

WORDS = b"hello from a layer\n"


def put_image(
    store: BlobStore, base: Path | None = None, *, extra: Mapping[str, Any] | None = None
) -> str:
    """The digest of its manifest. ``base`` is a tar of a root file system; without one the image
    has just two layers of ours, one of them compressed."""
    layers = [] if base is None else [_base(store, base)]
    layers.append(
        write_layer(store, [bytes_entry("words.txt", WORDS)], lambda _: None, compress=True)
    )
    layers.append(write_layer(store, [bytes_entry("model.bin", bytes(5000))], lambda _: None))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["cat", "/words.txt"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    return put_manifest(store, media_types.CONFIG, encoded(config), layers, extra or {})


def put_manifest(
    store: BlobStore,
    config_type: str,
    config: bytes,
    layers: Sequence[Layer],
    extra: Mapping[str, Any],
) -> str:
    """The digest of a manifest with these parts."""
    digest, size = store.put([config])
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "config": {"mediaType": config_type, "digest": digest, "size": size},
        "layers": [
            {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size_bytes}
            for layer in layers
        ],
        **extra,
    }
    return store.put([encoded(document)])[0]


def put_referrer(store: BlobStore, subject: str) -> dict[str, Any]:
    """The descriptor of a manifest about the image ``subject``."""
    digest, size = store.put([b'{"bomFormat":"CycloneDX"}'])
    layer = Layer(digest, size, digest, "application/vnd.cyclonedx+json")
    about = {
        "artifactType": "application/vnd.cyclonedx+json",
        "subject": {
            "mediaType": media_types.MANIFEST,
            "digest": subject,
            "size": len(store.read(subject)),
        },
    }
    manifest = put_manifest(store, media_types.EMPTY, b"{}", [layer], about)
    return {
        "mediaType": media_types.MANIFEST,
        "digest": manifest,
        "size": len(store.read(manifest)),
        "artifactType": "application/vnd.cyclonedx+json",
    }


def encoded(document: object) -> bytes:
    """JSON, always the same."""
    return json.dumps(document, sort_keys=True).encode()


def digest_of(data: bytes) -> str:
    """As OCI writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _base(store: BlobStore, base: Path) -> Layer:
    with base.open("rb") as file:
        digest, size = store.put(file_chunks(file))
    return Layer(digest, size, digest)
