"""Small signed images in a store of their own, as a workspace makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.stock.device_stock import DeviceStock
from registry import media_types
from registry.blobs import BlobStore
from registry.container_config import LAYER_KIND, encoded
from registry.image_tree import BUNDLE_ROOT
from registry.layers import Layer, bytes_entry, write_layer
from registry.paths import WorkspacePaths
from registry.trust.keys import WorkspaceKey
from tests.registry.trust.signed_image import MODEL, new_key, signed

BUNDLE_JSON = b'{"schema_version": 1}\n'
KEY = new_key()


@dataclass(frozen=True, slots=True)
class Published:
    """An image in a store. ``model``: the digest of its large layer; ``blobs``: size by digest of
    config and layers; ``referrers``: of its SBOM and signature."""

    name: str
    digest: str
    model: str
    blobs: Mapping[str, int]
    referrers: tuple[str, ...]
    referrer_blobs: Mapping[str, int]

    @property
    def all_blobs(self) -> dict[str, int]:
        """As a mark has them, but for the manifest."""
        return {**self.blobs, **self.referrer_blobs}


def new_store(root: Path) -> BlobStore:
    """An empty one."""
    store = BlobStore(WorkspacePaths(root))
    store.create()
    return store


def put_image(
    store: BlobStore,
    model: bytes = b"weights",
    *,
    name: str = "digits",
    version: int = 1,
    golden: bytes | None = None,
    signers: Sequence[WorkspaceKey] = (KEY,),
    code: Mapping[str, bytes] | None = None,
    artifact_type: str | None = media_types.BUNDLE,
    changes: Mapping[str, Any] | None = None,
) -> Published:
    """A bundle with a code layer, compressed, and a model layer, plain; signed by each signer."""
    files = {"bundle.json": BUNDLE_JSON, "code/score.py": b"def init(): ...\n", **(code or {})}
    if golden is not None:
        files["golden.json"] = golden
    layers = [
        ("code", _layer(store, files, compress=True)),
        ("model", _layer(store, {f"models/net/{version}/w.bin": model}, compress=False)),
    ]
    config = encoded({"rootfs": {"type": "layers", "diff_ids": [lay.diff_id for _, lay in layers]}})
    config_digest, config_size = store.put([config])
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "config": {
            "mediaType": media_types.CONFIG, "digest": config_digest, "size": config_size,
        },
        "layers": [
            {
                "mediaType": layer.media_type, "digest": layer.digest, "size": layer.size_bytes,
                "annotations": {LAYER_KIND: kind},
            }
            for kind, layer in layers
        ],
        "annotations": {
            "dev.inferry.name": name,
            "dev.inferry.version": str(version),
            "dev.inferry.models": f"net:3@{MODEL.digest}",
            "org.opencontainers.image.revision": "f" * 40,
        },
    }  # fmt: skip
    if artifact_type is not None:
        document["artifactType"] = artifact_type
    return publish(store, encoded({**document, **(changes or {})}), signers, name, version)


def publish(
    store: BlobStore, manifest: bytes, signers: Sequence[WorkspaceKey], name: str, version: int
) -> Published:
    """The manifest with its signature and SBOM; its blobs are there."""
    digest, _ = store.put([manifest])
    referrers, blobs = [], {}
    if signers:
        for each, content in signed(signers, manifest, name=name, version=version).referrers:
            blob, size = store.put([content])
            referrer, referrer_size = store.put([each])
            blobs.update({blob: size, referrer: referrer_size})
            referrers.append(referrer)
    document = json.loads(manifest)
    parts = {p["digest"]: p["size"] for p in (document["config"], *document["layers"])}
    model = document["layers"][-1]["digest"] if document["layers"] else ""
    return Published(f"{name}:{version}", digest, model, parts, tuple(referrers), blobs)


def _layer(store: BlobStore, files: Mapping[str, bytes], *, compress: bool) -> Layer:
    entries = [bytes_entry(f"{BUNDLE_ROOT}/{path}", data) for path, data in files.items()]
    return write_layer(store, entries, lambda _: None, compress=compress)


def stored(stock: DeviceStock, image: Published) -> str:
    """The digest of the image, marked as whole as at the end of a pull."""
    manifest_bytes = stock.blobs.size(image.digest) or 0
    stock.mark(image.digest, {**image.all_blobs, image.digest: manifest_bytes}, image.referrers)
    return image.digest
