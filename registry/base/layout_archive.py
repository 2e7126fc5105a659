"""The tar of an OCI image layout, as ``inferry image export`` writes it. Only the files of a layout
are taken out of it, and only while it is read."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.base.documents import MAX_DOCUMENT_BYTES
from registry.base.tar_reader import Kind, TarReader
from registry.base.unpacking import unpacked
from registry.blobs import disk_errors_said, file_chunks
from registry.errors import BaseImageError

MAX_BLOBS = 20_000
MARK, INDEX = "oci-layout", "index.json"
_BLOB = re.compile(r"blobs/sha256/[0-9a-f]{64}")


def is_of_layout(path: str) -> bool:
    """Whether a layout has a file of this path. Pure."""
    return path in (MARK, INDEX) or _BLOB.fullmatch(path) is not None


@contextmanager
def unpacked_layout(path: Path) -> Iterator[Path]:
    """The layout as a folder, for as long as the block runs. Raises BaseImageError,
    StoreFullError."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise BaseImageError(error.strerror or "it cannot be read") from error
    with file, tempfile.TemporaryDirectory(prefix="inferry-layout-") as made:
        folder = Path(made)
        (folder / "blobs" / "sha256").mkdir(parents=True)
        with disk_errors_said():
            _unpack(TarReader(unpacked(file_chunks(file)), is_strict=True), folder)
        if not (folder / MARK).is_file() or not (folder / INDEX).is_file():
            raise BaseImageError(
                "it is no tar of an OCI image layout (it has no oci-layout and index.json); the tar"
                " of a root file system is named without oci:"
            )
        yield folder


def _unpack(reader: TarReader, folder: Path) -> None:
    seen: set[str] = set()
    for member in reader:
        if not is_of_layout(member.path):
            continue  # such as the manifest.json that docker reads
        if member.kind is not Kind.FILE:
            raise BaseImageError(f"its {member.path} is no file")
        if member.path in seen:
            raise BaseImageError(f"it has {member.path} twice")
        if member.path == INDEX and member.size_bytes > MAX_DOCUMENT_BYTES:
            raise BaseImageError(f"its {INDEX} is too large")
        seen.add(member.path)
        if len(seen) > MAX_BLOBS:
            raise BaseImageError(f"it has more than {MAX_BLOBS} blobs")
        with (folder / member.path).open("xb") as target:
            for piece in reader.content():
                target.write(piece)
