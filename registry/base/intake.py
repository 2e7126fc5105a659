"""Takes layers into the store. Each is read once from its first byte to its last; on the way it is
hashed packed and plain, stored, and shown to the FileTree."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from registry import media_types
from registry.base.documents import Descriptor, layer_type
from registry.base.file_tree import FileTree
from registry.base.tar_reader import TarReader
from registry.base.unpacking import GZIP, peeked, unpacked
from registry.blobs import BlobStore
from registry.errors import BaseImageError
from registry.layers import Layer
from registry.layers import packed as packed

OnBytes = Callable[[int], None]


def store_archive(
    store: BlobStore, chunks: Iterator[bytes], tree: FileTree, on_bytes: OnBytes
) -> Layer:
    """Store the tar of a root file system as one layer. What is gzip stays as it is. All else is
    packed as our own layers are: 2 s for 107 MB, once for a base, and each push, pull and device
    saves two thirds of its bytes. Raises BaseImageError."""
    magic, whole = peeked(_counted(chunks, on_bytes))
    is_gzip = magic.startswith(GZIP)
    with store.writer() as (write, finish):
        if is_gzip:
            diff_id = _read(_copied(whole, write), tree, is_strict=True)
        else:
            with packed(write) as put:
                diff_id = _read(_copied(unpacked(whole), put), tree, is_strict=True)
        digest, size = finish()
    return Layer(digest, size, diff_id, media_types.LAYER_GZIP)


def store_plain(store: BlobStore, chunks: Iterator[bytes], on_bytes: OnBytes) -> Layer:
    """Store a plain layer, packed, without looking into it."""
    hashed = hashlib.sha256()
    with store.writer() as (write, finish):
        with packed(write) as put:
            for chunk in _counted(chunks, on_bytes):
                hashed.update(chunk)
                put(chunk)
        digest, size = finish()
    return Layer(digest, size, f"sha256:{hashed.hexdigest()}", media_types.LAYER_GZIP)


def store_layer(
    store: BlobStore,
    chunks: Iterator[bytes],
    said: Descriptor,
    diff_id: str,
    tree: FileTree,
    on_bytes: OnBytes,
) -> Layer:
    """Store a layer as it is, if it is what the manifest and the config say. Raises
    BaseImageError."""
    with store.writer() as (write, finish):
        whole = _copied(_checked(_counted(chunks, on_bytes), said), write)
        layer = _layer(_read(whole, tree, is_strict=False), said, diff_id)
        finish()
    return layer


def read_stored(
    store: BlobStore, said: Descriptor, diff_id: str, tree: FileTree, on_bytes: OnBytes
) -> Layer:
    """A layer that is in the store already, read as ``store_layer`` would. Raises
    BaseImageError."""
    whole = _checked(_counted(store.chunks(said.digest), on_bytes), said)
    return _layer(_read(whole, tree, is_strict=False), said, diff_id)


def _layer(found: str, said: Descriptor, diff_id: str) -> Layer:
    if found != diff_id:
        raise BaseImageError(f"its layer {said.digest} is not the one that its config names")
    return Layer(said.digest, said.size, diff_id, layer_type(said))


def _read(chunks: Iterator[bytes], tree: FileTree, *, is_strict: bool) -> str:
    """All of it, into the tree; the digest of the plain bytes."""
    hashed = hashlib.sha256()

    def plain() -> Iterator[bytes]:
        for chunk in unpacked(chunks):
            hashed.update(chunk)
            yield chunk

    tree.next_layer()
    reader = TarReader(plain(), is_strict=is_strict)
    for member in reader:
        tree.add(member, reader.content)
    return f"sha256:{hashed.hexdigest()}"


def _counted(chunks: Iterator[bytes], on_bytes: OnBytes) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        on_bytes(len(chunk))


def _copied(chunks: Iterator[bytes], write: Callable[[bytes], object]) -> Iterator[bytes]:
    for chunk in chunks:
        write(chunk)
        yield chunk


def _checked(chunks: Iterator[bytes], said: Descriptor) -> Iterator[bytes]:
    """Raises BaseImageError at once for more bytes than said, and at the end for other ones."""
    hashed = hashlib.sha256()
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > said.size:
            break
        hashed.update(chunk)
        yield chunk
    if size != said.size or f"sha256:{hashed.hexdigest()}" != said.digest:
        raise BaseImageError(f"its blob {said.digest} has other bytes than its digest and size say")
