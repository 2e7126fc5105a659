"""A workspace's images as what hosts take: the Stock of edge/, over the workspace's own store.

<workspace>/deployments/bundles/<hex>/    bundles, unpacked; whole, renamed at their end
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.errors import NotFoundError, PullError
from edge.stock.bundles import read_golden, unpack_bundle
from edge.stock.documents import read_manifest, stored_image
from edge.stock.port import Collected, StoredImage
from registry.blobs import BlobStore
from registry.errors import DamagedBlobError, RegistryError
from registry.paths import WorkspacePaths
from registry.proof.unpacking import remove


class WorkspaceStock:
    """Nothing is pulled or collected here: what a revision names stays in the workspace."""

    def __init__(self, root: Path) -> None:
        self._blobs = BlobStore(WorkspacePaths(root))
        self._bundles = root / "deployments" / "bundles"
        self._bundles.mkdir(parents=True, exist_ok=True)
        self._changing = threading.Lock()
        for left in self._bundles.glob(".*"):  # one controller has this folder
            remove(left)

    def __repr__(self) -> str:
        return f"WorkspaceStock({self._bundles.parent.parent})"

    def has(self, digest: str) -> bool:
        """Whether its manifest is in the store; the rest is checked where it is read."""
        return self._blobs.size(digest) is not None

    def image(self, digest: str) -> StoredImage:
        if not self.has(digest):
            raise NotFoundError(f"the image {digest} is not in this workspace any more")
        with _said():
            manifest = read_manifest(self._blobs.read(digest))
            return stored_image(digest, manifest, self._blobs.read(manifest.config.digest))

    def chunks(self, digest: str) -> Iterator[bytes]:
        with _said():
            yield from self._blobs.chunks(digest)

    def bundle(self, digest: str) -> Path:
        folder = self._bundles / digest.removeprefix("sha256:")
        image = self.image(digest)
        with self._changing:
            if not folder.is_dir():
                with _said():
                    unpack_bundle(self._blobs, image, folder, _nothing)
        return folder

    def golden(self, digest: str) -> bytes | None:
        with _said():
            return read_golden(self._blobs, self.image(digest))

    def collect(self, keep: Collection[str], wanted_bytes: int) -> Collected:
        """``keep``: digests whose bundles stay; what others unpacked to goes."""
        kept = {digest.removeprefix("sha256:") for digest in keep}
        with self._changing:
            doomed = [each for each in self._bundles.iterdir() if each.name not in kept]
            for folder in doomed:
                remove(folder)
        return Collected(len(doomed), 0)


@contextmanager
def _said() -> Iterator[None]:
    """Errors of the store as hosts expect them."""
    try:
        yield
    except DamagedBlobError as error:
        raise PullError(f"the workspace's store is damaged: {error}") from error
    except RegistryError as error:
        raise PullError(str(error)) from error


def _nothing() -> None:
    """Nobody cancels."""
