"""Reads an image out of an OCI image layout on disk. It may come from anywhere: each file is opened
without following links, and counts only if its bytes are those of its digest."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from registry.base import documents
from registry.base.documents import Descriptor, ImageConfig, Index, Manifest
from registry.blobs import file_chunks
from registry.errors import BaseImageError
from registry.platforms import Platform

MAX_NESTED = 3
"""An index may name an index."""


class LayoutFolder:
    """An open layout."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, platform: Platform, tag: str | None) -> tuple[str, Manifest, ImageConfig]:
        """Digest, manifest and config of the image. Raises BaseImageError."""
        index = documents.decode(self._small("index.json"), Index, "index.json")
        chosen = documents.choose(index, platform, tag)
        for _ in range(MAX_NESTED):
            if chosen.media_type not in documents.INDEXES:
                break
            index = documents.decode(self._document(chosen), Index, "index")
            chosen = documents.choose(index, platform)
        if chosen.media_type not in documents.MANIFESTS:
            kind = ascii(chosen.media_type)[:100]
            raise BaseImageError(f"its manifest is of the type {kind}, which is not supported")
        manifest = documents.decode(self._document(chosen), Manifest, "manifest")
        documents.check_config_type(manifest)
        config = documents.decode(self._document(manifest.config), ImageConfig, "config")
        return chosen.digest, manifest, config

    def chunks(self, said: Descriptor) -> Iterator[bytes]:
        """A blob's bytes; whoever reads them compares the digest."""
        with self._opened(_blob(said)) as file:
            yield from file_chunks(file)

    def _document(self, said: Descriptor) -> bytes:
        data = self._small(_blob(said))
        is_it = f"sha256:{hashlib.sha256(data).hexdigest()}" == said.digest
        if not is_it or len(data) != said.size:
            raise BaseImageError(f"its blob {said.digest} has other bytes than its digest says")
        return data

    def _small(self, name: str) -> bytes:
        with self._opened(name) as file:
            data = file.read(documents.MAX_DOCUMENT_BYTES + 1)
        if len(data) > documents.MAX_DOCUMENT_BYTES:
            raise BaseImageError(f"its {name} is too large")
        return data

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        try:
            # Not to wait for the other end of a pipe, and not to leave the folder.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            handle = os.open(self._folder / name, flags)
        except OSError as error:
            raise BaseImageError(f"its {name} cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise BaseImageError(f"its {name} is no file")
        with os.fdopen(handle, "rb") as file:
            yield file


def _blob(said: Descriptor) -> str:
    return f"blobs/sha256/{said.digest.removeprefix('sha256:')}"
