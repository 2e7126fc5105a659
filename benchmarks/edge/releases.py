"""Signed images of any size in a registry of their own, as a workspace makes them; a Docker Engine
can pull them too.

    with Releases(folder) as releases:
        release = releases.push("big", 1, model_bytes=200_000_000)
        releases.url, releases.key, release.digest, release.size_bytes
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.edge.fleet import INFERRY, Fleet
from registry import media_types, trust
from registry.blobs import BlobStore, Readable
from registry.container_config import LAYER_KIND, encoded
from registry.image_tree import BUNDLE_ROOT
from registry.layers import Entry, Layer, bytes_entry, write_layer
from registry.paths import WorkspacePaths
from registry.remote.pushing import push_image
from registry.trust.ed25519 import generate, read_private
from registry.trust.keys import WorkspaceKey

SBOM = b'{"bomFormat": "CycloneDX"}'


@dataclass(frozen=True, slots=True)
class Release:
    """``size_bytes``: of config and layers, what must come."""

    name: str
    digest: str
    size_bytes: int


class Releases:
    """``folder``: empty, and ours."""

    def __init__(self, folder: Path) -> None:
        self._fleet = Fleet(folder)
        self._folder = folder
        private, raw = read_private(generate(), "the key")
        self._signer = WorkspaceKey(private, trust.PublicKey(raw))
        self.key = self._signer.public
        self.url = ""

    def __enter__(self) -> Self:
        self._fleet.inferry("init", str(self._folder / "ws"), "--base", "none")
        self.url = self._fleet.start(
            "registry",
            [str(INFERRY), "registry", "serve", "--port", "0"],
            r"ready at (http://\S+)",
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._fleet.close()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, _, port = self.url.partition("//")[2].rpartition(":")
        return host, int(port)

    def push(self, name: str, version: int, model_bytes: int) -> Release:
        """Bytes that nothing compresses. It stays in the registry only."""
        folder = self._folder / "making"
        store = BlobStore(WorkspacePaths(folder))
        store.create()
        try:
            code = {"bundle.json": b"{}\n", "code/score.py": b"# %d\n" % version}
            layers = [
                ("code", _layer(store, [bytes_entry(f"{BUNDLE_ROOT}/{p}", d)
                                        for p, d in code.items()], compress=True)),
                ("model", _layer(store, [_random(f"{BUNDLE_ROOT}/models/m/w.bin", model_bytes)])),
            ]  # fmt: skip
            digest, size = self._manifest(store, name, version, layers)
            referrers = self._attest(store, name, version, digest)
            host = self.url.partition("//")[2]
            push_image(
                f"{host}/{name}:{version}", digest, store, lambda _: None, referrers=referrers
            )
        finally:
            shutil.rmtree(folder)
        return Release(f"{name}:{version}", digest, size)

    def _manifest(
        self, store: BlobStore, name: str, version: int, layers: list[tuple[str, Layer]]
    ) -> tuple[str, int]:
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for _, layer in layers]},
        }
        digest, size = store.put([encoded(config)])
        described = [
            {
                "mediaType": layer.media_type,
                "digest": layer.digest,
                "size": layer.size_bytes,
                "annotations": {LAYER_KIND: kind},
            }
            for kind, layer in layers
        ]
        document = {
            "schemaVersion": 2,
            "mediaType": media_types.MANIFEST,
            "config": {"mediaType": media_types.CONFIG, "digest": digest, "size": size},
            "layers": described,
            "annotations": {
                "dev.inferry.name": name,
                "dev.inferry.version": str(version),
                "dev.inferry.models": "",
            },
        }
        manifest, _ = store.put([encoded(document)])
        return manifest, size + sum(layer.size_bytes for _, layer in layers)

    def _attest(self, store: BlobStore, name: str, version: int, digest: str) -> list[str]:
        subject = trust.Descriptor(digest, store.size(digest) or 0)
        statement = trust.ImageStatement(
            digest, name, version, "docker", "linux/amd64", (), "0",
            sbom_digest=trust.artifacts.sha256(SBOM),
        )  # fmt: skip
        envelope = trust.sign(trust.statement_bytes(statement), [self._signer])
        found = []
        for artifact in (
            trust.sbom_manifest(subject, SBOM),
            trust.signature_manifest(subject, envelope),
        ):
            for blob in artifact.blobs:
                store.put([blob])
            found.append(store.put([artifact.manifest])[0])
        return found


def _layer(store: BlobStore, entries: list[Entry], *, compress: bool = False) -> Layer:
    return write_layer(store, entries, lambda _: None, compress=compress)


class _Random:
    """So many random bytes."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes

    def read(self, size: int = -1, /) -> bytes:
        """As of a file."""
        taken = self._left if size < 0 else min(size, self._left)
        self._left -= taken
        return os.urandom(taken)


def _random(path: str, size_bytes: int) -> Entry:
    @contextmanager
    def opened() -> Iterator[Readable]:
        yield _Random(size_bytes)

    return Entry(path, size_bytes, opened)
