"""The images of a store whose list of them is lost: a device that has them all needs no network.

A pull stores a manifest only once its signature was found right, so each that is here was trusted.
What is whole is hashed again before it is used: the marks are of no boot.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge.errors import PullError
from edge.stock.database import Mark
from edge.stock.documents import Manifest, read_manifest
from registry.blobs import BlobStore
from registry.remote.documents import MAX_MANIFEST_BYTES
from registry.remote.reference import is_digest

NO_BOOT = ""


def found_marks(blobs: BlobStore) -> Iterator[Mark]:
    """Of each image whose blobs are all there, the oldest first."""
    manifests: dict[str, Manifest] = {}
    referring: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(blobs.paths.blobs.iterdir(), key=_age):
        digest = f"sha256:{path.name}"
        document = _document(path)
        subject = document.get("subject")
        if isinstance(subject, dict):
            for layer in document.get("layers", ())[:1]:
                referring.setdefault(str(subject.get("digest")), []).append(
                    (digest, str(layer.get("digest")))
                )
        elif "layers" in document:
            with suppress(PullError):
                manifests[digest] = read_manifest(path.read_bytes())
    for digest, manifest in manifests.items():
        wanted = manifest.blobs()
        if all(blobs.size(blob) == size for blob, size in wanted.items()):
            wanted[digest] = blobs.size(digest) or 0
            referrers = []
            for manifest_digest, content in referring.get(digest, ()):
                size = blobs.size(content) if is_digest(content) else None
                if size is not None:
                    wanted[content] = size
                    wanted[manifest_digest] = blobs.size(manifest_digest) or 0
                    referrers.append(manifest_digest)
            yield Mark(digest, wanted, tuple(referrers), NO_BOOT)


def _age(path: Path) -> float:
    return path.stat().st_mtime


def _document(path: Path) -> dict[str, Any]:
    """A blob that may be a manifest; {} for others."""
    with suppress(OSError, ValueError, RecursionError):
        if path.stat().st_size <= MAX_MANIFEST_BYTES:
            with path.open("rb") as file:
                if file.read(1) == b"{":
                    found = json.loads(b"{" + file.read())
                    layers = found.get("layers")
                    if isinstance(layers, list) and all(isinstance(e, dict) for e in layers):
                        return dict(found)
    return {}
