"""The bundle of an image, out of its layers: unpacked whole, or only its golden inputs read."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import IO

from edge.errors import PullError
from edge.stock.port import StoredImage, StoredLayer
from registry import fpga_artifact, media_types
from registry.blobs import BlobStore, disk_errors_said
from registry.image_tree import BUNDLE_ROOT
from registry.layers import Layer
from registry.proof.unpacking import protect, remove, unpack

GOLDEN = "golden.json"
MAX_GOLDEN_BYTES = 1024 * 1024
HOLDS_BUNDLE = ("code", "model", "")


def unpack_bundle(blobs: BlobStore, image: StoredImage, folder: Path) -> None:
    """Make ``folder``, whole or not at all, its bytes on the disk before its name. Raises
    RegistryError, PullError."""
    room = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        if image.kind == "fpga":
            made = fpga_artifact.unpack_artifact(blobs, image.digest, room / "bundle")
        else:
            for each in _bundle_layers(image):
                layer = Layer(each.digest, each.size_bytes, each.diff_id, each.media_type)
                unpack(blobs, layer, room, lambda: None)
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


def read_golden(blobs: BlobStore, image: StoredImage) -> bytes | None:
    """golden.json of the bundle; the rest is not unpacked. Raises PullError for one that is too
    large, RegistryError."""
    if image.kind == "fpga":
        return None
    for each in reversed(_bundle_layers(image)):
        if each.kind == "model":
            continue
        with blobs.open(each.digest) as stored:
            found = _find(stored, each)
        if found is not None:
            return found
    return None


def _bundle_layers(image: StoredImage) -> list[StoredLayer]:
    return [each for each in image.layers if each.kind in HOLDS_BUNDLE]


def _find(stored: IO[bytes], layer: StoredLayer) -> bytes | None:
    is_gzip = layer.media_type == media_types.LAYER_GZIP
    plain: IO[bytes] = gzip.GzipFile(fileobj=stored) if is_gzip else stored  # type: ignore[assignment]
    try:
        with tarfile.open(fileobj=plain, mode="r|") as archive:
            for info in archive:
                if info.name == f"{BUNDLE_ROOT}/{GOLDEN}" and info.isreg():
                    if info.size > MAX_GOLDEN_BYTES:
                        raise PullError(f"{GOLDEN} of the image is larger than 1 MiB")
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


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
