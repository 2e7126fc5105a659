"""The bundle of an image, out of its layers: unpacked whole, or only its golden inputs read."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from edge.errors import PullError
from edge.stock.port import StoredImage, StoredLayer
from registry import fpga_artifact, media_types
from registry.blobs import CHUNK_BYTES, BlobStore, disk_errors_said
from registry.errors import RegistryError
from registry.golden import FILE as GOLDEN
from registry.golden import MAX_BYTES as MAX_GOLDEN_BYTES
from registry.image_tree import BUNDLE_ROOT
from registry.layers import Layer, read_layer
from registry.proof.unpacking import protect, remove, unpack

HOLDS_BUNDLE = ("code", "model", "")
UNPACKED_FACTOR = 3.5
"""How much larger compressed layers become, at most, as far as Python packages go."""


def unpack_bundle(
    blobs: BlobStore, image: StoredImage, folder: Path, check: Callable[[], None]
) -> None:
    """Make ``folder``, whole or not at all, its bytes on the disk before its name. ``check`` may
    raise between files. Raises RegistryError, PullError."""
    with disk_errors_said():
        room = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        if image.kind == "fpga":
            made = fpga_artifact.unpack_artifact(blobs, image.digest, room / "bundle")
        else:
            for each in bundle_layers(image):
                layer = Layer(each.digest, each.size_bytes, each.diff_id, each.media_type)
                unpack(blobs, layer, room, check)
            made = room / BUNDLE_ROOT
        if not (made / "bundle.json").is_file():
            raise PullError(f"the image {image.digest} has no bundle.json")
        with disk_errors_said():
            _sync(made)
            os.rename(made, folder)
            protect(folder)
            _sync_one(folder.parent)
    finally:
        remove(room)


def is_bundle_right(blobs: BlobStore, image: StoredImage, folder: Path) -> bool:
    """Whether the folder has the bytes that unpacking would give it, no file more. Reads both."""
    if image.kind == "fpga":
        return False  # small, and made again
    try:
        expected = set()
        for each in bundle_layers(image):
            with blobs.open_unverified(each.digest) as stored:
                for path, content, _ in read_layer(stored):
                    if not _is_same(content, folder / path):
                        return False
                    expected.add(folder / path)
        found = {path for path in folder.rglob("*") if not path.is_dir()}
    except (OSError, RegistryError):
        return False
    return found == expected


def read_golden(blobs: BlobStore, image: StoredImage) -> bytes | None:
    """golden.json of the bundle; the rest is not unpacked. Raises PullError for one that is too
    large, RegistryError."""
    if image.kind == "fpga":
        return _fpga_golden(blobs, image)
    for each in reversed(bundle_layers(image)):
        if each.kind == "model":
            continue
        with blobs.open(each.digest) as stored:
            found = _find(stored, each)
        if found is not None:
            return found
    return None


def _fpga_golden(blobs: BlobStore, image: StoredImage) -> bytes | None:
    """Each file is a blob of its own there."""
    part = fpga_artifact.GOLDEN
    for each in image.layers:
        if each.media_type == part.media_type:
            if each.size_bytes > part.max_bytes:
                raise PullError(f"{GOLDEN} of the image is larger than {part.max_bytes} bytes")
            return blobs.read(each.digest)
    return None


def bundle_layers(image: StoredImage) -> list[StoredLayer]:
    """Those whose files the bundle has. Of an FPGA artifact: all."""
    return [each for each in image.layers if each.kind in HOLDS_BUNDLE]


def unpacked_bytes(media_type: str, size_bytes: int) -> int:
    """How much of the disk a layer takes at most once it is unpacked, as far as one can tell."""
    is_gzip = media_type == media_types.LAYER_GZIP
    return int(size_bytes * UNPACKED_FACTOR) if is_gzip else size_bytes


def copy_bundle(source: Path, target: Path) -> None:
    """A second name for every file, beside ``current`` of a module: links, or copies where the
    file system has none. Whole or not there."""
    if target.is_dir():
        return
    room = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
    try:
        made = room / "bundle"
        shutil.copytree(source, made, copy_function=_link, dirs_exist_ok=False)
        os.chmod(made, 0o755)
        _sync(made)
        os.rename(made, target)
        os.chmod(target, 0o555)
        _sync_one(target.parent)
    finally:
        remove(room)


def _is_same(content: IO[bytes], path: Path) -> bool:
    if path.is_symlink():
        return False
    with path.open("rb") as file:
        while True:
            wanted = content.read(CHUNK_BYTES)
            if file.read(len(wanted) or 1) != wanted:
                return False
            if not wanted:
                return True


def _find(stored: IO[bytes], layer: StoredLayer) -> bytes | None:
    is_gzip = layer.media_type == media_types.LAYER_GZIP
    plain: IO[bytes] = gzip.GzipFile(fileobj=stored) if is_gzip else stored  # type: ignore[assignment]
    try:
        with tarfile.open(fileobj=plain, mode="r|") as archive:
            for info in archive:
                if info.name == f"{BUNDLE_ROOT}/{GOLDEN}" and info.isreg():
                    if info.size > MAX_GOLDEN_BYTES:
                        raise PullError(
                            f"{GOLDEN} of the image is larger than {MAX_GOLDEN_BYTES} bytes"
                        )
                    content = archive.extractfile(info)
                    return None if content is None else content.read()
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise PullError(f"the layer {layer.digest} cannot be read: {error}") from error
    return None


def _sync(folder: Path) -> None:
    for path, _, files in os.walk(folder):
        for name in files:
            _sync_one(Path(path, name))
        _sync_one(Path(path))


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
