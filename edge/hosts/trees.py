"""What process instances run from: the packages and the server of container images, unpacked, and
bundles as the stock unpacks them.

<folder>/
  images/<hex of the digest>.json    which layers the image needs: it is prepared, if all are there
  layers/<hex of the diff_id>/       files, read-only; whole, since renamed at its end
  layers/.<random>/                  one being unpacked, or what a killed agent left
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import msgspec

from edge.errors import EdgeError, HostError
from edge.hosts.durability import sync_file_system
from edge.hosts.run_folder import remove_tree, write_whole
from edge.stock.port import Stock, StoredImage
from registry.errors import RegistryError
from registry.layers import Layer
from registry.proof.unpacking import protect, unpack

UNPACKED = ("server", "dependencies")
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class Prepared(msgspec.Struct, frozen=True):
    """What an image needs: the plain digests of its layers, in the order of Python's path, or none
    when the device's own packages serve it; ``is_fpga``: a board too."""

    layers: list[str]
    is_container: bool
    is_fpga: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """What to start: the unpacked layers, and the bundle. ``is_container``: its packages are in
    ``trees``, so the device's own are not to be seen. ``is_fpga``: it needs the board."""

    trees: list[Path]
    bundle: Path
    is_container: bool
    is_fpga: bool = False


class Trees:
    """Of one device."""

    def __init__(self, folder: Path, stock: Stock) -> None:
        self._images, self._layers, self._stock = folder / "images", folder / "layers", stock
        self._changing = threading.Lock()
        for each in (self._images, self._layers):
            each.mkdir(parents=True, exist_ok=True)
        for left in self._layers.glob(".*"):
            remove_tree(left)

    def prepare(self, digest: str, is_cancelled: Callable[[], bool]) -> None:
        """Unpack what is not yet. Raises HostError, and what the stock raises."""
        while not self._changing.acquire(timeout=0.2):
            _check(is_cancelled)
        try:
            image = self._stock.image(digest)
            self._stock.bundle(digest)
            layers = []
            if image.kind == "container":
                check_fits(image)
                chosen = [each for kind in UNPACKED for each in image.layers if each.kind == kind]
                layers = [Layer(e.digest, e.size_bytes, e.diff_id, e.media_type) for e in chosen]
            for layer in layers:
                self._put(layer, is_cancelled)
            prepared = Prepared(
                [each.diff_id for each in layers], image.kind == "container", image.kind == "fpga"
            )
            write_whole(self._record(digest), msgspec.json.encode(prepared))
        except (OSError, RegistryError) as error:
            said = getattr(error, "strerror", None) or error
            raise HostError(f"the image {digest} cannot be unpacked: {said}") from error
        finally:
            self._changing.release()

    def ready(self, digest: str) -> Ready:
        """Raises HostError when the image is not prepared."""
        prepared = self._prepared(self._record(digest))
        if prepared is None or not all(self._tree(each).is_dir() for each in prepared.layers):
            raise HostError(f"the image {digest} is not prepared")
        trees = [self._tree(each) for each in prepared.layers]
        bundle = self._stock.bundle(digest)
        return Ready(trees, bundle, prepared.is_container, prepared.is_fpga)

    def is_fpga(self, digest: str) -> bool:
        """Whether the image needs a board; False for one that is not here."""
        prepared = self._prepared(self._record(digest))
        if prepared is not None:
            return prepared.is_fpga
        with contextlib.suppress(EdgeError):  # a damaged disk must not make it another instance
            return self._stock.image(digest).kind == "fpga"
        return False

    def discard(self, keep: Sequence[str]) -> None:
        """Remove what none of these images needs."""
        with self._changing:
            kept = {self._record(digest).name for digest in keep}
            needed = set()
            for record in self._images.glob("*.json"):
                prepared = self._prepared(record)
                if record.name in kept and prepared is not None:
                    needed |= {self._tree(each).name for each in prepared.layers}
                else:
                    record.unlink(missing_ok=True)
            for tree in self._layers.iterdir():
                if tree.name not in needed:
                    doomed = tree.with_name(f".{tree.name}")
                    with contextlib.suppress(OSError):
                        os.rename(tree, doomed)
                    remove_tree(doomed)

    def _put(self, layer: Layer, is_cancelled: Callable[[], bool]) -> None:
        path = self._tree(layer.diff_id)
        if path.is_dir():
            return
        room = Path(tempfile.mkdtemp(prefix=".", dir=self._layers))
        try:
            unpack(_Blobs(self._stock), layer, room, lambda: _check(is_cancelled))
            protect(room)
            sync_file_system(room)
            os.rename(room, path)
            sync_file_system(path)
        except BaseException:
            remove_tree(room)
            raise

    def _record(self, digest: str) -> Path:
        return self._images / f"{_hex(digest)}.json"

    def _tree(self, diff_id: str) -> Path:
        return self._layers / _hex(diff_id)

    @staticmethod
    def _prepared(record: Path) -> Prepared | None:
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return msgspec.json.decode(record.read_bytes(), type=Prepared)
        return None


def check_fits(image: StoredImage) -> None:
    """Whether this device's Python can run the packages of a container. Raises HostError."""
    asked = re.search(r"python3\.(\d+)$", image.python_path or "")
    own = sys.version_info[:2]
    title = f"{image.name or image.digest} cannot run without Docker"
    if asked is None:
        raise HostError(f"{title}: it does not say which Python it needs")
    if (3, int(asked[1])) != own:
        raise HostError(f"{title}: it needs Python 3.{asked[1]}, this device has {own[0]}.{own[1]}")
    with contextlib.suppress(ValueError):
        machine = json.loads(image.config or b"{}").get("architecture")
        here = MACHINES.get(platform.machine(), platform.machine())
        if machine not in (None, here):
            raise HostError(f"{title}: it is for {machine}, this device is {here}")


def _check(is_cancelled: Callable[[], bool]) -> None:
    if is_cancelled():
        raise HostError("the preparing was cancelled")


def _hex(digest: str) -> str:
    found = digest.removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", found):
        raise HostError(f"{ascii(digest)[:80]} is no digest")
    return found


@dataclass(frozen=True, slots=True)
class _Blobs:
    """A stock's blobs as what an unpacker opens."""

    stock: Stock

    def open(self, digest: str) -> IO[bytes]:
        return cast("IO[bytes]", io.BufferedReader(_Chunks(self.stock.chunks(digest))))


class _Chunks(io.RawIOBase):
    """Bytes that come in pieces as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._source, self._rest = chunks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._source, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
