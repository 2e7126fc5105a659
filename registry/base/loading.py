"""Reads a base image, whatever names it, into the store, and says what Python it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from registry.base import documents
from registry.base.documents import Descriptor, ImageConfig, Manifest
from registry.base.file_tree import FileTree
from registry.base.image import BaseImage
from registry.base.inspection import find_python
from registry.base.intake import OnBytes, read_stored, store_archive, store_layer
from registry.base.layout import LayoutFolder
from registry.base.layout_archive import unpacked_layout
from registry.base.reference import (
    EngineImage,
    Layout,
    LayoutArchive,
    RegistryImage,
    RootArchive,
    parse_base,
    shown,
)
from registry.base.saved_image import SavedImage
from registry.blobs import BlobStore, file_chunks
from registry.docker_engine import ContainerEngine
from registry.errors import BaseImageError, EngineError, RemoteError
from registry.layers import Layer
from registry.platforms import Platform

PullRegistry: TypeAlias = Callable[
    [str, Platform, BlobStore, OnBytes], tuple[str, Mapping[str, Any], Mapping[str, Any]]
]
"""Puts an image into the store; returns its manifest's digest, the manifest and the config."""
Connect: TypeAlias = Callable[[], ContainerEngine]
"""Finds the Docker Engine, when it is needed. Raises EngineError."""
_Found: TypeAlias = tuple[str, Sequence[Layer], Mapping[str, Any], FileTree]


def load_base(
    reference: str,
    platform: Platform,
    store: BlobStore,
    *,
    on_bytes: OnBytes,
    said: str | None = None,
    pull: PullRegistry | None = None,
    engine: Connect | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> BaseImage:
    """Read the base into the store. ``on_bytes`` hears of bytes as they are read and may raise,
    ``on_line`` of what someone should know. ``said``: what an error calls the base.

    Raises BaseImageError; EngineError for a base of the Docker Engine that cannot be had;
    RemoteError when a registry refuses; StoreFullError."""
    source = parse_base(reference)
    with _named(said or reference):
        match source:
            case RootArchive(path):
                found = _from_archive(path, store, on_bytes)
            case Layout(folder, tag):
                found = _from_layout(LayoutFolder(folder), tag, platform, store, on_bytes)
            case LayoutArchive(path, tag):
                with unpacked_layout(path) as folder:
                    found = _from_layout(LayoutFolder(folder), tag, platform, store, on_bytes)
            case EngineImage(name):
                found = _from_engine(name, engine, platform, store, on_bytes)
            case RegistryImage() as image:
                found = _from_registry(image, pull, engine, platform, store, on_bytes, on_line)
        digest, layers, settings, tree = found
        python, glibc = find_python(tree, documents.environment(settings), platform)
    return BaseImage(reference, digest, platform, tuple(layers), settings, python, glibc)


def _from_archive(path: Path, store: BlobStore, on_bytes: OnBytes) -> _Found:
    tree = FileTree()
    try:
        file = path.open("rb")
    except OSError as error:
        raise BaseImageError(error.strerror or "it cannot be read") from error
    with file:
        layer = store_archive(store, file_chunks(file), tree, on_bytes)
    return layer.diff_id, [layer], {}, tree


def _from_layout(
    layout: LayoutFolder,
    tag: str | None,
    platform: Platform,
    store: BlobStore,
    on_bytes: OnBytes,
) -> _Found:
    digest, manifest, config = layout.find(platform, tag)

    def take(said: Descriptor, diff_id: str, tree: FileTree) -> Layer:
        return store_layer(store, layout.chunks(said), said, diff_id, tree, on_bytes)

    return digest, *_take_all(manifest, config, platform, take)


def _from_registry(
    image: RegistryImage,
    pull: PullRegistry | None,
    connect: Connect | None,
    platform: Platform,
    store: BlobStore,
    on_bytes: OnBytes,
    on_line: Callable[[str], None],
) -> _Found:
    if pull is None:
        raise BaseImageError("no registry may be asked here; give a file, a layout or docker:NAME")
    try:
        digest, manifest_document, config_document = pull(str(image), platform, store, on_bytes)
    except RemoteError as error:
        if error.status is not None:  # it answered: what it says is meant
            raise
        found = _from_engine_instead(image, error, connect, platform, store, on_bytes)
        on_line(
            f"{image} cannot be pulled ({error}); the Docker Engine's image of that name is used"
        )
        return found
    manifest = documents.convert(manifest_document, Manifest, "manifest")
    documents.check_config_type(manifest)
    config = documents.convert(config_document, ImageConfig, "config")

    def take(said: Descriptor, diff_id: str, tree: FileTree) -> Layer:
        return read_stored(store, said, diff_id, tree, lambda count: None)

    return digest, *_take_all(manifest, config, platform, take)


def _take_all(
    manifest: Manifest,
    config: ImageConfig,
    platform: Platform,
    take: Callable[[Descriptor, str, FileTree], Layer],
) -> tuple[Sequence[Layer], Mapping[str, Any], FileTree]:
    """Checks before the first byte of a layer is read."""
    settings = documents.check_config(config, platform)
    documents.check_manifest(manifest, config)
    tree = FileTree()
    pairs = zip(manifest.layers, config.rootfs.diff_ids, strict=True)
    layers = [take(said, diff_id, tree) for said, diff_id in pairs]
    return layers, settings, tree


def _from_engine(
    name: str, connect: Connect | None, platform: Platform, store: BlobStore, on_bytes: OnBytes
) -> _Found:
    if connect is None:
        raise BaseImageError("the Docker Engine may not be asked here")
    saved = SavedImage()
    saved.take(store, connect().save(name), on_bytes)
    digest, config, layers = saved.image()
    settings = documents.check_config(config, platform)
    tree = FileTree()
    for layer in layers:
        said = Descriptor(layer.digest, layer.size_bytes, layer.media_type)
        read_stored(store, said, layer.diff_id, tree, lambda count: None)
    return digest, layers, settings, tree


def _from_engine_instead(
    image: RegistryImage,
    reason: RemoteError,
    connect: Connect | None,
    platform: Platform,
    store: BlobStore,
    on_bytes: OnBytes,
) -> _Found:
    name = str(image).removeprefix("docker.io/").removeprefix("library/")
    try:
        return _from_engine(name, connect, platform, store, on_bytes)
    except (EngineError, BaseImageError) as error:
        raise BaseImageError(
            f"it cannot be pulled ({reason}), and the Docker Engine cannot give it ({error});"
            " give --base a file, an OCI layout or docker:NAME"
        ) from reason


@contextmanager
def _named(reference: str) -> Iterator[None]:
    try:
        yield
    except BaseImageError as error:
        raise BaseImageError(f"base {shown(reference)}: {error}") from error
