"""OCI layers: deterministic tar archives, and reading them back.

Sorted paths, time 0, owner 0, fixed modes: the same content gives the same digest, on any machine
and day. Models hardly compress and stay plain; packages and code are compressed
(research/registry.md, section 1).
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from registry import media_types
from registry.blobs import BlobStore, Readable
from registry.errors import ImageFailedError
from registry.image_tree import BUNDLE_ROOT

BLOCK_BYTES = 4 * 1024 * 1024
"""Compressed at a time, each as a gzip member of its own: whoever has cores uses them, and the
bytes do not depend on how many."""
THREADS = 2
GZIP = 31
"""zlib's name for a gzip header; it has no time and no name in it."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One stored layer: ``digest`` and size as stored, ``diff_id`` the digest of the plain tar."""

    digest: str
    size_bytes: int
    diff_id: str
    media_type: str = media_types.LAYER


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a layer; ``path`` is POSIX, from the image's root, without a leading slash."""

    path: str
    size_bytes: int
    open: Callable[[], AbstractContextManager[Readable]]
    is_executable: bool = False


def bytes_entry(path: str, data: bytes, *, is_executable: bool = False) -> Entry:
    """A file from memory."""
    return Entry(path, len(data), lambda: io.BytesIO(data), is_executable)


def write_layer(
    store: BlobStore,
    entries: Iterable[Entry],
    on_bytes: Callable[[int], None],
    *,
    compress: bool = False,
) -> Layer:
    """Store a layer with ``entries``; ``on_bytes`` is told of the bytes of the plain tar as they
    are written. ``on_bytes`` may raise, which leaves nothing."""
    ordered = sorted(entries, key=lambda entry: entry.path)
    diff = hashlib.sha256()
    with store.writer() as (write, finish):
        with packed(write) if compress else _plain(write) as put:

            def counted(chunk: bytes) -> int:
                diff.update(chunk)
                put(chunk)
                on_bytes(len(chunk))
                return len(chunk)

            _write_tar(ordered, counted)
        digest, size = finish()
    media_type = media_types.LAYER_GZIP if compress else media_types.LAYER
    return Layer(digest, size, f"sha256:{diff.hexdigest()}", media_type)


def read_layer(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes], bool]]:
    """Path in the bundle, content, and whether it is executable, of each file of a stored layer,
    plain or gzip. Raises ImageFailedError for a layer that has anything but plain files below the
    bundle's root: none of a bundle's has."""
    try:
        with tarfile.open(fileobj=file, mode="r:*") as archive:
            for info in archive:
                if info.isdir():
                    continue
                # A sparse one is regular to tarfile, and may be a terabyte of zeros.
                is_plain = info.isreg() and not info.issparse()
                content = archive.extractfile(info) if is_plain else None
                path = PurePosixPath(info.name)
                is_inside = path.is_relative_to(BUNDLE_ROOT) and ".." not in path.parts
                if content is None or not is_inside:
                    raise ImageFailedError("the image has a layer that does not hold a bundle")
                is_executable = bool(info.mode & 0o100)
                yield str(path.relative_to(BUNDLE_ROOT)), content, is_executable
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise ImageFailedError(f"the image has a layer that cannot be read: {error}") from error


def is_stored(store: BlobStore, layer: Layer) -> bool:
    """Whether the layer is there, whole and of the size that the manifest will say. To purge it is
    as young as one just written."""
    is_digest = media_types.FIND_DIGEST.fullmatch(layer.digest) is not None
    return is_digest and store.renew(layer.digest) and store.size(layer.digest) == layer.size_bytes


def _write_tar(ordered: list[Entry], write: Callable[[bytes], int]) -> None:
    with tarfile.open(  # type: ignore[call-overload]
        fileobj=_Sink(write),
        mode="w|",
        format=tarfile.PAX_FORMAT,
    ) as archive:
        for folder in _folders(entry.path for entry in ordered):
            archive.addfile(_info(folder, tarfile.DIRTYPE, 0, 0o755))
        for entry in ordered:
            mode = 0o755 if entry.is_executable else 0o644
            with entry.open() as content:
                info = _info(entry.path, tarfile.REGTYPE, entry.size_bytes, mode)
                archive.addfile(info, content)


@contextmanager
def _plain(write: Callable[[bytes], object]) -> Iterator[Callable[[bytes], object]]:
    yield write


@contextmanager
def packed(write: Callable[[bytes], object]) -> Iterator[Callable[[bytes], object]]:
    """Compresses blocks in threads and writes them in order."""
    waiting = bytearray()
    under_way: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="gzip") as pool:

        def block(length: int) -> None:
            under_way.append(pool.submit(_gzip, bytes(waiting[:length])))
            del waiting[:length]
            if len(under_way) > 2 * THREADS:
                write(under_way.popleft().result())

        def put(chunk: bytes) -> None:
            waiting.extend(chunk)
            while len(waiting) >= BLOCK_BYTES:
                block(BLOCK_BYTES)

        yield put
        if waiting:
            block(len(waiting))
        for member in under_way:
            write(member.result())


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(5, zlib.DEFLATED, GZIP)
    return packer.compress(data) + packer.flush()


class _Sink:
    """The writing end that tarfile wants."""

    def __init__(self, write: Callable[[bytes], int]) -> None:
        self.write = write


def _folders(paths: Iterable[str]) -> list[str]:
    found = {parent for path in paths for parent in Path(path).parents}
    return sorted(str(folder) for folder in found if str(folder) != ".")


def _info(path: str, kind: bytes, size: int, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.size, info.mode, info.mtime = kind, size, mode, 0
    return info
