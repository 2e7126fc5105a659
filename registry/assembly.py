"""Assembles an image: layers, config and manifest, into the store. Equal inputs, equal digests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from registry import media_types
from registry.blobs import BlobStore
from registry.bundle_file import bundle_json, model_path
from registry.image_request import ImageRequest
from registry.image_tree import BUNDLE_ROOT
from registry.layers import Entry, Layer, bytes_entry, write_layer
from registry.records import Model

OnBytes = Callable[[int], None]


class LayerCache(Protocol):
    """Which layer was written for a model before."""

    def find(self, model: Model) -> Layer | None:
        """The layer, which may be gone from the store, or None."""
        ...

    def add(self, model: Model, layer: Layer) -> None:
        """Remember the layer."""
        ...


@dataclass(frozen=True, slots=True)
class Assembled:
    """The image's manifest, and all blobs it is made of with it: size by digest."""

    manifest: str
    blobs: Mapping[str, int]


def assemble(
    store: BlobStore,
    name: str,
    version: int,
    request: ImageRequest,
    cache: LayerCache,
    log: list[str],
    on_bytes: OnBytes,
) -> Assembled:
    """Write what the image needs; a line of ``log`` for each step.

    Raises InvalidSourceError (the source changed), DamagedBlobError, StoreFullError."""
    layers = [_code_layer(store, name, version, request, on_bytes)]
    log.append(f"code layer {layers[0].digest} ({layers[0].size_bytes} bytes)")
    for model in request.models:
        layer = _model_layer(store, model, cache, on_bytes)
        log.append(f"model layer {layer.digest} ({layer.size_bytes} bytes) {model.reference}")
        layers.append(layer)
    config = _put_json(store, _config(layers))
    manifest = _put_json(store, _manifest(name, version, request, config, layers))
    log.append(f"image {name}:{version} {manifest.digest}")
    blobs = {layer.digest: layer.size_bytes for layer in (*layers, config, manifest)}
    return Assembled(manifest.digest, blobs)


def _code_layer(
    store: BlobStore, name: str, version: int, request: ImageRequest, on_bytes: OnBytes
) -> Layer:
    description = bundle_json(
        name,
        version,
        request.models,
        entry_script=None if request.code is None else request.code.script,
        max_batch=request.max_batch,
    )
    entries = [bytes_entry(f"{BUNDLE_ROOT}/bundle.json", description)]
    if request.requirements is not None:
        entries.append(
            bytes_entry(f"{BUNDLE_ROOT}/{request.requirements_file}", request.requirements.encode())
        )
    for file in request.code.files if request.code is not None else ():
        path = f"{BUNDLE_ROOT}/code/{file.path}"
        entries.append(Entry(path, file.size_bytes, file.open, file.is_executable))
    return write_layer(store, entries, on_bytes)


def _model_layer(store: BlobStore, model: Model, cache: LayerCache, on_bytes: OnBytes) -> Layer:
    """The model's own layer. It is deterministic, so all its images share one blob, which is
    written only when it is not there or damaged."""
    known = cache.find(model)
    if known is not None and store.renew(known.digest):
        on_bytes(known.size_bytes)
        return known
    entries = [
        Entry(
            f"{BUNDLE_ROOT}/{model_path(model)}/{file.path}",
            file.size_bytes,
            partial(store.open, file.digest),
        )
        for file in model.files
    ]
    layer = write_layer(store, entries, on_bytes)
    cache.add(model, layer)
    return layer


def _put_json(store: BlobStore, document: Mapping[str, Any]) -> Layer:
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    digest, size = store.put([data])
    return Layer(digest, size, digest)


def _config(layers: Sequence[Layer]) -> dict[str, Any]:
    """No time in it: equal inputs give equal digests."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }


def _manifest(
    name: str, version: int, request: ImageRequest, config: Layer, layers: Sequence[Layer]
) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "artifactType": media_types.BUNDLE,
        "config": {
            "mediaType": media_types.CONFIG,
            "digest": config.digest,
            "size": config.size_bytes,
        },
        "layers": [
            {"mediaType": media_types.LAYER, "digest": layer.digest, "size": layer.size_bytes}
            for layer in layers
        ],
        "annotations": {
            "dev.inferry.name": name,
            "dev.inferry.version": str(version),
            "dev.inferry.models": ",".join(f"{m.reference}@{m.digest}" for m in request.models),
        },
    }
