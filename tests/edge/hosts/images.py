"""Images for tests of hosts, with a fake server in place of the real one, in a stock of this
process. The base is the Debian of the engine's tests, so that Docker has its layer already.

stock = FakeStock(tmp_path)
digest = stock.add({"answer": "one"}, base=debian_base)
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from edge.errors import NotFoundError
from edge.stock.port import Collected, ImageKind, StoredImage, StoredLayer
from registry import media_types
from registry.container_config import BaseConfig, ImageLayer, container_config, encoded, manifest
from registry.image_tree import BUNDLE_ROOT, SERVER_ROOT
from registry.layers import Layer
from registry.platforms import Platform

SERVER = Path(__file__).with_name("fake_server.py")
CHUNK_BYTES = 1024 * 1024


class FakeStock:
    """The Stock, of images that were added."""

    def __init__(self, folder: Path, python_path: str = "/usr/bin/python3.11") -> None:
        self.folder = folder
        self._python_path = python_path
        self._images: dict[str, StoredImage] = {}
        self._blobs: dict[str, bytes | Path] = {}
        self.sent_bytes = 0
        """All that was read of blobs."""

    def add(
        self,
        behaviour: Mapping[str, object],
        *,
        base: Path | None = None,
        kind: ImageKind = "container",
    ) -> str:
        """The digest of a new image of which the fake server does so. ``base``: a tar."""
        layers = [] if base is None else [self._base(base)]
        if kind == "container":
            self._put(layers, "server", f"{SERVER_ROOT}/scoring/__main__.py", SERVER.read_bytes())
        path = f"{BUNDLE_ROOT}/behaviour.json"
        self._put(layers, "code", path, json.dumps(dict(behaviour)).encode())
        config = encoded(
            container_config(
                BaseConfig({}, self._python_path), Platform("amd64"), layers, {"test": "edge"}
            )
        )
        document = encoded(manifest(_digest(config), len(config), layers, {}, is_container=True))
        digest = _digest(document)
        bundle = self.folder / "bundles" / digest.removeprefix("sha256:")
        bundle.mkdir(parents=True, exist_ok=True)
        (bundle / "behaviour.json").write_text(json.dumps(dict(behaviour)))
        stored = tuple(
            StoredLayer(
                e.layer.digest, e.layer.size_bytes, e.layer.media_type, e.kind, e.layer.diff_id
            )
            for e in layers
        )
        self._images[digest] = StoredImage(
            digest,
            kind,
            "tested",
            1,
            stored,
            config,
            _digest(config),
            self._python_path,
        )
        return digest

    def forget(self, digest: str) -> None:
        """The image is not there any more."""
        del self._images[digest]

    def has(self, digest: str) -> bool:
        return digest in self._images

    def image(self, digest: str) -> StoredImage:
        if digest not in self._images:
            raise NotFoundError(f"the image {digest} is not here")
        return self._images[digest]

    def chunks(self, digest: str) -> Iterator[bytes]:
        found = self._blobs[digest]
        if isinstance(found, bytes):
            self.sent_bytes += len(found)
            yield found
        else:
            with found.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    self.sent_bytes += len(chunk)
                    yield chunk

    def bundle(self, digest: str) -> Path:
        self.image(digest)
        return self.folder / "bundles" / digest.removeprefix("sha256:")

    def golden(self, digest: str) -> bytes | None:
        return None

    def collect(self, keep: Collection[str], wanted_bytes: int) -> Collected:
        return Collected(0, 0)

    def _base(self, path: Path) -> ImageLayer:
        with path.open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        self._blobs[digest] = path
        return ImageLayer(Layer(digest, path.stat().st_size, digest), "base", "Debian")

    def _put(self, layers: list[ImageLayer], kind: str, path: str, data: bytes) -> None:
        content = _tar(path, data)
        digest = _digest(content)
        self._blobs[digest] = content
        layer = Layer(digest, len(content), digest, media_types.LAYER)
        layers.append(ImageLayer(layer, kind, path))


def _tar(path: str, data: bytes) -> bytes:
    """One file and the folders above it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for parent in reversed(list(map(str, Path(path).parents))[:-1]):
            folder = tarfile.TarInfo(parent)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
        info = tarfile.TarInfo(path)
        info.size, info.mode = len(data), 0o644
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
