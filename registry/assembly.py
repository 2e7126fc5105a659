"""Assembles an image: layers, config and manifest, into the store. Equal inputs, equal digests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry import media_types
from registry.blobs import BlobStore
from registry.bundle_file import bundle_json, model_path
from registry.errors import InvalidSourceError
from registry.image_request import ImageRequest
from registry.layers import Entry, Layer, bytes_entry, write_layer
from registry.records import Model

OnBytes = Callable[[int], None]


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
    log: list[str],
    on_bytes: OnBytes,
) -> Assembled:
    """Write what the image needs; a line of ``log`` for each step.

    Raises InvalidSourceError (the source changed), DamagedBlobError, StoreFullError."""
    layers = [_code_layer(store, name, version, request, on_bytes)]
    log.append(f"code layer {layers[0].digest} ({layers[0].size_bytes} bytes)")
    for model in request.models:
        layer = _model_layer(store, model, on_bytes)
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
    entries = [bytes_entry("bundle.json", description)]
    if request.requirements is not None:
        entries.append(bytes_entry(request.requirements_file, request.requirements.encode()))
    for file in request.code.files if request.code is not None else ():
        path = f"code/{file.path}"
        entries.append(Entry(path, file.size_bytes, file.open, file.is_executable))
    try:
        return write_layer(store, entries, on_bytes)
    except OSError as error:
        if error.errno is not None:
            raise
        raise InvalidSourceError("the source changed while it was read; try again") from error


def _model_layer(store: BlobStore, model: Model, on_bytes: OnBytes) -> Layer:
    """The model's own layer: deterministic, so all its images share one blob."""
    entries = [
        Entry(
            f"{model_path(model)}/{file.path}",
            file.size_bytes,
            lambda digest=file.digest: store.open(digest),  # type: ignore[misc]
        )
        for file in model.files
    ]
    return write_layer(store, entries, on_bytes)


def _put_json(store: BlobStore, document: Mapping[str, Any]) -> Layer:
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return Layer(*store.put([data]))


def _config(layers: Sequence[Layer]) -> dict[str, Any]:
    """No time in it: equal inputs give equal digests."""
    return {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
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
