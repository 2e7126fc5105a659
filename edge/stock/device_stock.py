"""The Stock of a device, on its disk.

<state>/store/           an OCI image layout (registry/blobs.py)
    blobs/sha256/        every blob: whole, renamed at its end
    parts/               blobs under way (edge/pull)
    stock.db             the marks: which images are whole
<state>/bundles/<hex>/   bundles, unpacked; whole, renamed at their end

A power cut can leave files that have their names and not their bytes. So after a boot that the
stock was not closed before, each image is hashed again at its first use.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.errors import NoSpaceError, NotFoundError, PullError
from edge.stock.bundles import (
    bundle_layers,
    is_bundle_right,
    read_golden,
    unpack_bundle,
    unpacked_bytes,
)
from edge.stock.database import Mark, StockDatabase
from edge.stock.documents import read_manifest, stored_image
from edge.stock.port import Collected, StoredImage
from edge.stock.salvage import found_marks
from registry.blobs import BlobStore, file_chunks
from registry.errors import DamagedBlobError, RegistryError, StoreFullError
from registry.paths import WorkspacePaths
from registry.proof.unpacking import remove

Check = Callable[[], None]


def nothing() -> None:
    """Nobody cancels."""


class DeviceStock:
    """``reserve_bytes`` of the disk are never taken. ``boot_id``: of this boot."""

    def __init__(self, state: Path, *, reserve_bytes: int, boot_id: str) -> None:
        self._bundles = state / "bundles"
        self.parts = state / "store" / "parts"
        self.reserve_bytes = reserve_bytes
        self._boot_id = boot_id
        self.blobs = BlobStore(WorkspacePaths(state))
        with _said():
            self.blobs.create()
            for folder in (self._bundles, self.parts):
                folder.mkdir(parents=True, exist_ok=True)
        self._changing = threading.RLock()
        """Held for moments, and while a bundle is unpacked."""
        self._checking = threading.Lock()
        self._held: list[frozenset[str]] = []
        self._right: set[str] = set()
        """Blobs that were found right in this boot."""
        self._rechecked: set[str] = set()
        """Images, likewise."""
        for left in self._bundles.glob(".*"):
            remove(left)
        for upload in self.blobs.paths.uploads.iterdir():
            upload.unlink(missing_ok=True)  # one agent has this folder: nobody writes it now
        self._marks = StockDatabase(state / "store" / "stock.db")
        try:
            self._begin()
        except BaseException:
            self._marks.close()
            raise

    def close(self) -> None:
        """Its database. Idempotent."""
        self._marks.close(self._boot_id)

    def has(self, digest: str, check: Check = nothing) -> bool:
        """Hashes all of it at the first call after a boot; ``check`` may raise meanwhile."""
        mark = self._marks.get(digest)
        if mark is None:
            return False
        if mark.checked_boot != self._boot_id and digest not in self._rechecked:
            return self._recheck(mark, check)
        return all(self.blobs.size(blob) == size for blob, size in mark.blobs.items())

    def has_blob(self, digest: str, size_bytes: int, check: Check = nothing) -> bool:
        """Whether it is here and right: hashed, unless it was in this boot."""
        if self.blobs.size(digest) != size_bytes:
            return False
        return digest in self._right or self._hash(digest, check)

    def image(self, digest: str) -> StoredImage:
        self._require(digest)
        with self._damage_noted(), _said():
            manifest = read_manifest(self.blobs.read(digest))
            return stored_image(digest, manifest, self.blobs.read(manifest.config.digest))

    def referrers(self, digest: str) -> tuple[str, ...]:
        """Digests of the manifests of its signature and SBOM."""
        mark = self._marks.get(digest)
        return () if mark is None else mark.referrers

    def chunks(self, digest: str) -> Iterator[bytes]:
        with self._damage_noted(), _said():
            yield from self.blobs.chunks(digest)

    def bundle(self, digest: str) -> Path:
        folder = self._bundles / digest.removeprefix("sha256:")
        image = self.image(digest)
        self.used(digest)
        with self._changing:
            if not folder.is_dir():
                self._check_room(image)
                with self._damage_noted(), _said():
                    unpack_bundle(self.blobs, image, folder, self._check_reserve)
        return folder

    def golden(self, digest: str) -> bytes | None:
        image = self.image(digest)
        with self._damage_noted(), _said():
            return read_golden(self.blobs, image)

    def used(self, digest: str) -> None:
        """It is the last to be collected now."""
        with suppress(PullError):  # a full disk: it is used all the same
            self._marks.touch(digest)

    def mark(self, digest: str, blobs: dict[str, int], referrers: Sequence[str]) -> None:
        """All of it is here: the last step of a pull. Raises PullError when it is not."""
        with self._changing:
            missing = [blob for blob, size in blobs.items() if self.blobs.size(blob) != size]
            if missing:
                raise PullError(f"the image {digest} lacks {missing[0]}", is_temporary=True)
            self._marks.put(Mark(digest, blobs, tuple(referrers), self._boot_id))
            self._right.update(blobs)

    def free_bytes(self) -> int:
        """Above the reserve; below 0 when the disk has less than it."""
        found = os.statvfs(self._bundles)
        return found.f_bavail * found.f_frsize - self.reserve_bytes

    @contextmanager
    def holding(self, blobs: Iterable[str]) -> Iterator[None]:
        """Within the block ``collect`` keeps these blobs and parts, whole image or not."""
        held = frozenset(blobs)
        with self._changing:
            self._held.append(held)
        try:
            yield
        finally:
            with self._changing:
                self._held.remove(held)

    def collect(self, keep: Collection[str], wanted_bytes: int) -> Collected:
        """What belongs to no whole image goes last: it may be a pull that goes on tomorrow."""
        count = size = 0
        with self._changing:
            for mark in self._marks.all():
                if self.free_bytes() >= wanted_bytes:
                    break
                if mark.digest not in keep:
                    self._marks.remove([mark.digest])
                    size += self._sweep(set(mark.blobs))
                    count += 1
            if self.free_bytes() < wanted_bytes:
                size += self._sweep(None)
        return Collected(count, size)

    def forget_damaged(self, blob: str) -> None:
        """The blob is not what it should be: images that need it are not whole, and a pull will
        fetch it again."""
        with self._changing:
            doomed = [m.digest for m in self._marks.all() if blob in m.blobs]
            self._marks.remove(doomed)
            self._right.discard(blob)
            self._rechecked.difference_update(doomed)
            self.blobs.paths.blob(blob).unlink(missing_ok=True)
            for digest in doomed:
                self._remove_bundle(digest.removeprefix("sha256:"))

    def _begin(self) -> None:
        if self._marks.is_new:
            for found in found_marks(self.blobs):
                self._marks.put(found)
        with suppress(PullError):  # a full disk: then all is hashed again
            self._marks.begin(self._boot_id)
        for mark in self._marks.all():
            if mark.checked_boot == self._boot_id:
                self._right.update(mark.blobs)

    def _require(self, digest: str) -> None:
        if not self.has(digest):
            raise NotFoundError(f"the image {digest} is not on this device")

    def _recheck(self, mark: Mark, check: Check) -> bool:
        while not self._checking.acquire(timeout=0.2):
            check()
        try:
            for blob, size in mark.blobs.items():
                if not self.has_blob(blob, size, check):
                    self.forget_damaged(blob)
                    return False
            self._recheck_bundle(mark.digest)
            self._rechecked.add(mark.digest)
            with suppress(PullError):  # a full disk: once more after a restart, then
                self._marks.checked(mark.digest, self._boot_id)
        finally:
            self._checking.release()
        return True

    def _recheck_bundle(self, digest: str) -> None:
        folder = self._bundles / digest.removeprefix("sha256:")
        if not folder.is_dir():
            return
        with _said():
            manifest = read_manifest(self.blobs.read(digest))
            image = stored_image(digest, manifest, self.blobs.read(manifest.config.digest))
        if not is_bundle_right(self.blobs, image, folder):
            with self._changing:
                self._remove_bundle(folder.name)

    def _hash(self, digest: str, check: Check) -> bool:
        hashed = hashlib.sha256()
        try:
            with self.blobs.open_unverified(digest) as file:
                for chunk in file_chunks(file):
                    check()
                    hashed.update(chunk)
        except (DamagedBlobError, OSError):  # gone, or the disk cannot read it
            return False
        if f"sha256:{hashed.hexdigest()}" != digest:
            return False
        self._right.add(digest)
        return True

    def _check_room(self, image: StoredImage) -> None:
        needed = sum(unpacked_bytes(e.media_type, e.size_bytes) for e in bundle_layers(image))
        free = self.free_bytes()
        if free < needed:
            raise NoSpaceError(
                f"unpacking {image.name or image.digest} needs {needed / 1e6:.0f} MB, and"
                f" {max(0, free) / 1e6:.0f} MB are free above the reserve of"
                f" {self.reserve_bytes / 1e6:.0f} MB; free some",
                is_temporary=True,
            )

    def _check_reserve(self) -> None:
        if self.free_bytes() < 0:
            raise NoSpaceError(
                "no space is left on the device above its reserve; free some", is_temporary=True
            )

    def _sweep(self, only: set[str] | None) -> int:
        """Remove blobs, parts and bundles that no whole image has and nobody holds; of blobs and
        parts just ``only``, if given."""
        marks = self._marks.all()
        kept = {blob for mark in marks for blob in mark.blobs}.union(*self._held)
        size = 0
        for path in (*self.blobs.paths.blobs.iterdir(), *self.parts.iterdir()):
            digest = f"sha256:{path.name.partition('.')[0]}"
            if digest not in kept and (only is None or digest in only):
                with suppress(FileNotFoundError):
                    size += path.stat().st_size
                    path.unlink()
                self._right.discard(digest)
        whole = {mark.digest.removeprefix("sha256:") for mark in marks}
        for folder in self._bundles.iterdir():
            if folder.name not in whole:
                size += self._remove_bundle(folder.name)
        return size

    def _remove_bundle(self, name: str) -> int:
        """Under another name first: a bundle that has its name is whole."""
        doomed = self._bundles / f".{name}"
        with suppress(OSError):
            os.rename(self._bundles / name, doomed)
        size = sum(path.lstat().st_size for path in doomed.rglob("*") if path.is_file())
        remove(doomed)
        return size

    @contextmanager
    def _damage_noted(self) -> Iterator[None]:
        try:
            yield
        except PullError as error:
            if isinstance(error.__cause__, DamagedBlobError):
                self.forget_damaged(error.__cause__.digest)
            raise


@contextmanager
def _said() -> Iterator[None]:
    """What the registry's parts raise, as PullError."""
    try:
        yield
    except StoreFullError as error:
        raise NoSpaceError(
            "no space is left on the device; free some", is_temporary=True
        ) from error
    except DamagedBlobError as error:
        raise PullError(f"{error}; it will be fetched again", is_temporary=True) from error
    except RegistryError as error:
        raise PullError(str(error)) from error
