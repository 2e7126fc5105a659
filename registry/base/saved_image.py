"""Reads the stream that ``docker save`` makes. Its layers come in any order and before the list
that names them, so they are stored as they come; only the small files are kept in memory."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from registry.base import documents
from registry.base.documents import ImageConfig
from registry.base.intake import OnBytes, store_plain
from registry.base.tar_reader import Kind, TarReader
from registry.base.unpacking import peeked, unpacked
from registry.blobs import BlobStore
from registry.errors import BaseImageError
from registry.layers import Layer

MAX_FILES = 4096
MAX_DOCUMENTS_BYTES = 64 * 1024 * 1024


class _Listed(msgspec.Struct, frozen=True, rename="pascal"):
    """An entry of manifest.json."""

    config: str
    layers: Annotated[list[str], msgspec.Meta(min_length=1, max_length=documents.MAX_LAYERS)]


@dataclass(slots=True)
class SavedImage:
    """What was found in the stream, by its path there."""

    layers: dict[str, Layer] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def take(self, store: BlobStore, chunks: Iterator[bytes], on_bytes: OnBytes) -> None:
        """Read the stream, storing its layers. Raises BaseImageError."""
        reader = TarReader(chunks, is_strict=True)
        for number, member in enumerate(reader):
            if number > MAX_FILES:
                raise BaseImageError(f"it has more than {MAX_FILES} parts")
            if member.kind is Kind.FILE:
                self._take(member.path, store, reader.content(), on_bytes)
            elif member.kind is Kind.SYMBOLIC_LINK:  # a layer that is there twice
                folder = posixpath.dirname(member.path)
                self.links[member.path] = posixpath.normpath(f"{folder}/{member.target}")

    def image(self) -> tuple[str, ImageConfig, list[Layer]]:
        """Its id, its config, and its layers in order. Raises BaseImageError."""
        try:
            [listed] = msgspec.json.decode(
                self.documents.get("manifest.json", b"[]"), type=list[_Listed]
            )
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise BaseImageError("the Docker Engine's list of its layers cannot be read") from error
        data = self.documents.get(listed.config, b"")
        config = documents.decode(data, ImageConfig, "config")
        names = [self.links.get(name, name) for name in listed.layers]
        layers = [self.layers[name] for name in names if name in self.layers]
        if [layer.diff_id for layer in layers] != config.rootfs.diff_ids:
            raise BaseImageError("the Docker Engine gave other layers than its config names")
        return f"sha256:{hashlib.sha256(data).hexdigest()}", config, layers

    def _take(
        self, path: str, store: BlobStore, content: Iterator[bytes], on_bytes: OnBytes
    ) -> None:
        magic, whole = peeked(content)
        if path.endswith("/layer.tar") or (
            path.startswith("blobs/") and magic and not magic.startswith((b"{", b"["))
        ):
            self.layers[path] = store_plain(store, unpacked(whole), on_bytes)
            return
        data = bytearray()
        for piece in whole:
            data += piece
            if len(data) > documents.MAX_DOCUMENT_BYTES:
                raise BaseImageError(f"its {ascii(path)[:100]} is too large")
        self.documents[path] = bytes(data)
        if sum(map(len, self.documents.values())) > MAX_DOCUMENTS_BYTES:
            raise BaseImageError("it has too many documents")
