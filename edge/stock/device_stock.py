"""The Stock of a device, on its disk.

<state>/store/           an OCI image layout (registry/blobs.py)
    blobs/sha256/        every blob: whole, renamed at its end
    parts/               blobs under way (edge/pull)
    stock.db             the marks: which images are whole
<state>/bundles/<hex>/   bundles, unpacked; whole, renamed at their end

What was fine before a boot is hashed again at its first use after it: a power cut can leave files
that have their names and not their bytes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.errors import NoSpaceError, NotFoundError, PullError
from edge.stock.bundles import read_golden, unpack_bundle
from edge.stock.database import Mark, StockDatabase
from edge.stock.documents import read_manifest, stored_image
from edge.stock.port import Collected, StoredImage
from registry.blobs import BlobStore
from registry.errors import DamagedBlobError, RegistryError, StoreFullError
from registry.paths import WorkspacePaths
from registry.proof.unpacking import remove


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
        self._marks = StockDatabase(state / "store" / "stock.db")
        self._changing = threading.RLock()
        self._held: list[frozenset[str]] = []
        for left in self._bundles.glob(".*"):
            remove(left)
        for upload in self.blobs.paths.uploads.iterdir():
            upload.unlink(missing_ok=True)  # one agent has this folder: nobody writes it now

    def close(self) -> None:
        """Its database."""
        self._marks.close()

    def has(self, digest: str) -> bool:
        """Hashes all of it at the first call after a boot."""
        mark = self._marks.get(digest)
        if mark is None:
            return False
        if mark.checked_boot != self._boot_id:
            return self._recheck(mark)
        return all(self.blobs.size(blob) == size for blob, size in mark.blobs.items())

    def image(self, digest: str) -> StoredImage:
        self._require(digest)
        with _said():
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
        with self._changing:
            image = self.image(digest)
            self._marks.touch(digest)
            if not folder.is_dir():
                with self._damage_noted(), _said():
                    unpack_bundle(self.blobs, image, folder)
        return folder

    def golden(self, digest: str) -> bytes | None:
        with self._damage_noted(), _said():
            return read_golden(self.blobs, self.image(digest))

    def mark(self, digest: str, blobs: dict[str, int], referrers: Sequence[str]) -> None:
        """All of it is here: the last step of a pull. Raises PullError when it is not."""
        missing = [blob for blob, size in blobs.items() if self.blobs.size(blob) != size]
        if missing:
            raise PullError(f"the image {digest} lacks {missing[0]}", is_temporary=True)
        self._marks.put(Mark(digest, blobs, tuple(referrers), self._boot_id))

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

    def collect(self, keep: Sequence[str], wanted_bytes: int) -> Collected:
        count = size = 0
        with self._changing:
            if self.free_bytes() >= wanted_bytes:
                return Collected(0, 0)
            size += self._sweep()
            for mark in self._marks.all():
                if self.free_bytes() >= wanted_bytes:
                    break
                if mark.digest not in keep:
                    self._marks.remove([mark.digest])
                    size += self._sweep()
                    count += 1
        return Collected(count, size)

    def forget_damaged(self, blob: str) -> None:
        """The blob is not what it should be: images that need it are not whole, and a pull will
        fetch it again."""
        with self._changing:
            doomed = [m.digest for m in self._marks.all() if blob in m.blobs]
            self._marks.remove(doomed)
            self.blobs.paths.blob(blob).unlink(missing_ok=True)
            for digest in doomed:
                self._remove_bundle(digest.removeprefix("sha256:"))

    def _require(self, digest: str) -> None:
        if not self.has(digest):
            raise NotFoundError(f"the image {digest} is not on this device")

    def _recheck(self, mark: Mark) -> bool:
        with self._changing:
            for blob in mark.blobs:
                try:
                    with _said():
                        self.blobs.open(blob).close()
                except PullError:
                    self.forget_damaged(blob)
                    return False
            # Unpacked files may have lost their bytes too: they are made again.
            self._remove_bundle(mark.digest.removeprefix("sha256:"))
            self._marks.checked(mark.digest, self._boot_id)
        return True

    def _sweep(self) -> int:
        """Remove blobs, parts and bundles that no whole image has and nobody holds."""
        marks = self._marks.all()
        kept = {blob for mark in marks for blob in mark.blobs}.union(*self._held)
        size = 0
        for path in (*self.blobs.paths.blobs.iterdir(), *self.parts.iterdir()):
            if f"sha256:{path.name.partition('.')[0]}" not in kept:
                with suppress(FileNotFoundError):
                    size += path.stat().st_size
                    path.unlink()
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
        raise NoSpaceError("no space is left on the device; free some") from error
    except DamagedBlobError as error:
        raise PullError(f"{error}; it will be fetched again", is_temporary=True) from error
    except RegistryError as error:
        raise PullError(str(error)) from error
