"""Puts the layers of an image into the store. Equal inputs, equal digests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from registry import bytecode
from registry.blobs import BlobStore
from registry.bundle_file import bundle_json, model_path
from registry.container_config import ImageLayer
from registry.golden import FILE as GOLDEN_FILE
from registry.image_request import ImageRequest
from registry.image_tree import BUNDLE_ROOT
from registry.layers import Entry, Layer, bytes_entry, is_stored, write_layer
from registry.records import Model
from registry.server_files import server_digest, server_entries, server_folder

OnBytes = Callable[[int], None]
LOCK_FILE = "requirements.lock"


class LayerCache(Protocol):
    """Which layers were written before."""

    def find(self, model: Model) -> Layer | None:
        """The layer, which may be gone from the store, or None."""
        ...

    def add(self, model: Model, layer: Layer) -> None:
        """Remember the layer."""
        ...

    def find_built(self, key: str) -> Layer | None:
        """The same for a layer with a key that covers its content."""
        ...

    def add_built(self, key: str, layer: Layer) -> None:
        """Remember the layer."""
        ...


def server_layer(store: BlobStore, python: tuple[int, int], cache: LayerCache) -> ImageLayer:
    """The scoring server that is installed here, for a base with that version of Python."""
    folder = server_folder()
    key = f"server {python} {bytecode.can_compile(python)} {server_digest(folder)}"
    layer = cache.find_built(key)
    if layer is None or not is_stored(store, layer):
        layer = write_layer(store, server_entries(folder, python), _uncounted, compress=True)
        cache.add_built(key, layer)
    return ImageLayer(layer, "server", "scoring server")


def code_layer(
    store: BlobStore,
    name: str,
    version: int,
    request: ImageRequest,
    lock: tuple[str, str] | None,
) -> ImageLayer:
    """bundle.json, the script with its folder, and what was asked and locked of Python packages;
    ``lock`` is the lock's text and digest."""
    entries = code_entries(name, version, request, lock)
    layer = write_layer(store, entries, _uncounted, compress=True)
    return ImageLayer(layer, "code", "script" if request.code else "bundle")


def code_entries(
    name: str, version: int, request: ImageRequest, lock: tuple[str, str] | None
) -> list[Entry]:
    """The files of that layer."""
    description = bundle_json(
        name,
        version,
        request.models,
        entry_script=None if request.code is None else request.code.script,
        max_batch=request.max_batch,
        lock_digest=None if lock is None else lock[1],
    )
    entries = [bytes_entry(f"{BUNDLE_ROOT}/bundle.json", description)]
    if request.golden is not None:
        entries.append(bytes_entry(f"{BUNDLE_ROOT}/{GOLDEN_FILE}", request.golden))
    if request.requirements is not None:
        path = f"{BUNDLE_ROOT}/{request.requirements_file}"
        entries.append(bytes_entry(path, request.requirements.encode()))
    if lock is not None:
        entries.append(bytes_entry(f"{BUNDLE_ROOT}/{LOCK_FILE}", lock[0].encode()))
    for file in request.code.files if request.code is not None else ():
        path = f"{BUNDLE_ROOT}/code/{file.path}"
        entries.append(Entry(path, file.size_bytes, file.open, file.is_executable))
    return entries


def model_layer(
    store: BlobStore, model: Model, cache: LayerCache, on_bytes: OnBytes
) -> tuple[ImageLayer, bool]:
    """The model's own layer, and whether it was there. It is deterministic, so all its images share
    one blob, which is written only when it is not there or damaged."""
    known = cache.find(model)
    if known is not None and is_stored(store, known):
        on_bytes(known.size_bytes)
        return ImageLayer(known, "model", model.reference), True
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
    return ImageLayer(layer, "model", model.reference), False


def _uncounted(_count: int) -> None:
    """Too small for a progress bar."""
