"""Writes an image of the store as a file or folder that other programs read.

    export_oci(store, digest, referrers, "digits:3", Path("digits"))          an OCI image layout
    export_oci(store, digest, referrers, "digits:3", Path("digits.tar"))      a tar of one
    export_docker(store, digest, "digits:3", Path("digits.tar"))              for docker load

Each blob is verified while it is copied; the target is whole or not there. The same image gives the
same bytes. A tar for ``docker load`` is an OCI layout too, with Docker's own manifest.json beside
it: old engines read the one, engines with the containerd store the other.
"""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from registry import media_types
from registry.blobs import LAYOUT, BlobStore
from registry.errors import (
    DamagedBlobError,
    ImageFailedError,
    InvalidNameError,
    InvalidSourceError,
    TargetError,
    TargetExistsError,
)
from registry.folders import new_folder, write_file

OnBytes = Callable[[int], None]
Json = Mapping[str, Any]
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REF_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,254}")
_HOST = r"(?:localhost|[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+|[a-zA-Z0-9.-]+(?=:))(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPO_TAG = re.compile(
    rf"(?P<host>{_HOST}/)?(?P<path>{_PART}(?:/{_PART})*):(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{{0,127}})"
)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob as an OCI document names it."""

    media_type: str
    digest: str
    size_bytes: int

    def document(self, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        """As JSON has it."""
        plain = {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}
        return {**plain, "annotations": dict(annotations)} if annotations else plain


@dataclass(frozen=True, slots=True)
class Contents:
    """A manifest and the blobs that it names; the config comes first."""

    manifest: Descriptor
    parts: tuple[Descriptor, ...]
    artifact_type: str | None

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """All of them, with the manifest."""
        return (*self.parts, self.manifest)


def export_oci(
    store: BlobStore,
    manifest_digest: str,
    referrers: Sequence[Json],
    ref_name: str,
    target: Path,
    *,
    force: bool = False,
    on_bytes: OnBytes | None = None,
) -> Path:
    """Write the image, named ``ref_name``, and its ``referrers`` (descriptors of their manifests)
    as the OCI layout ``target``, a folder, or a tar of one where the name ends in .tar.

    Raises TargetExistsError (``force`` overwrites a file or a layout, no other folder),
    TargetError, DamagedBlobError, ImageFailedError, InvalidNameError."""
    if not _REF_NAME.fullmatch(ref_name):
        raise InvalidNameError(f"{ascii(ref_name)[:60]} cannot name an image in an OCI layout")
    image = contents(store, manifest_digest)
    others = [contents(store, str(referrer["digest"])) for referrer in referrers]
    # The image first: a reader that takes the first one is right.
    index = _index(
        [
            image.manifest.document({REF_NAME: ref_name}),
            *(
                _referrer_document(other, known)
                for other, known in zip(others, referrers, strict=True)
            ),
        ]
    )
    blobs = _distinct([image, *others])
    if target.suffix == ".tar":
        with _new_file(target, force=force) as file:
            _write_tar(file, store, {"oci-layout": LAYOUT, "index.json": index}, blobs, on_bytes)
        return target
    with _new_layout(target, force=force) as folder:
        for blob in blobs:
            write_file(folder / _blob_path(blob), _copied(store, blob, on_bytes))
        write_file(folder / "oci-layout", [LAYOUT])
        write_file(folder / "index.json", [index])
    return target


def export_docker(
    store: BlobStore,
    manifest_digest: str,
    repo_tag: str,
    target: Path | IO[bytes],
    *,
    force: bool = False,
    on_bytes: OnBytes | None = None,
) -> None:
    """Write a tar for ``docker load`` that makes the image ``repo_tag`` (like ``digits:3``). Into
    an open file it goes as it is read: where that raises, what was written is worth nothing.

    Raises what ``export_oci`` does, and InvalidSourceError for what is no container."""
    full_name = docker_name(repo_tag)
    image = contents(store, manifest_digest)
    config, *layers = image.parts
    if image.artifact_type is not None or config.media_type == media_types.EMPTY:
        raise InvalidSourceError("this image is no container; write it as an OCI layout instead")
    names = {CONTAINERD_NAME: full_name, REF_NAME: repo_tag.rpartition(":")[2]}
    docker = [
        {
            "Config": _blob_path(config),
            "RepoTags": [repo_tag],
            "Layers": [_blob_path(layer) for layer in layers],
        }
    ]
    documents = {
        "oci-layout": LAYOUT,
        "index.json": _index([image.manifest.document(names)]),
        "manifest.json": _encoded(docker),
    }
    blobs = _distinct([image])
    if isinstance(target, Path):
        with _new_file(target, force=force) as file:
            _write_tar(file, store, documents, blobs, on_bytes)
    else:
        _write_tar(target, store, documents, blobs, on_bytes)


def exported_bytes(store: BlobStore, manifest_digest: str, referrers: Sequence[Json] = ()) -> int:
    """How many bytes ``on_bytes`` will be told of."""
    digests = [manifest_digest, *(str(referrer["digest"]) for referrer in referrers)]
    blobs = _distinct([contents(store, digest) for digest in digests])
    return sum(blob.size_bytes for blob in blobs)


def docker_name(repo_tag: str) -> str:
    """The name in full that Docker gives ``repo_tag``: docker.io/library/digits:3. Raises
    InvalidNameError for what Docker would not take: it knows lower case only."""
    found = _REPO_TAG.fullmatch(repo_tag)
    if found is None:
        raise InvalidNameError(
            f"{ascii(repo_tag)[:60]} is no name that Docker takes; say another, such as digits:3"
        )
    if found["host"]:
        return repo_tag
    return f"docker.io/{repo_tag if '/' in found['path'] else f'library/{repo_tag}'}"


def contents(store: BlobStore, manifest_digest: str) -> Contents:
    """What the image manifest of this digest names. Raises DamagedBlobError, and ImageFailedError
    for a document that is none."""
    data = store.read(manifest_digest)
    try:
        document = json.loads(data)
        parts = tuple(map(_descriptor, [document["config"], *document["layers"]]))
        media_type = str(document.get("mediaType", media_types.MANIFEST))
        artifact_type = document.get("artifactType")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ImageFailedError("the image has a manifest that cannot be read") from error
    manifest = Descriptor(media_type, manifest_digest, len(data))
    return Contents(manifest, parts, None if artifact_type is None else str(artifact_type))


def _descriptor(document: Json) -> Descriptor:
    """Raises ValueError; a digest becomes a path."""
    found = Descriptor(str(document["mediaType"]), document["digest"], document["size"])
    if not _DIGEST.fullmatch(found.digest) or not isinstance(found.size_bytes, int):
        raise ValueError("no digest or no size")
    return found


def _referrer_document(found: Contents, known: Json) -> dict[str, Any]:
    """Of a manifest that names the image as its subject: readers find it by that, so it needs no
    name of its own."""
    plain = found.manifest.document(known.get("annotations"))
    kind = known.get("artifactType", found.artifact_type)
    return plain if kind is None else {**plain, "artifactType": kind}


def _index(manifests: Sequence[Json]) -> bytes:
    return _encoded(
        {"schemaVersion": 2, "mediaType": media_types.INDEX, "manifests": list(manifests)}
    )


def _encoded(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _distinct(found: Iterable[Contents]) -> list[Descriptor]:
    """Every blob once, by digest."""
    blobs = {blob.digest: blob for one in found for blob in one.blobs}
    return [blobs[digest] for digest in sorted(blobs)]


def _blob_path(blob: Descriptor) -> str:
    return f"blobs/{blob.digest.replace(':', '/')}"


def _copied(store: BlobStore, blob: Descriptor, on_bytes: OnBytes | None) -> Iterator[bytes]:
    """The bytes of a blob, which raise at their end at the latest if they are not what the digest
    and the size say."""
    size = 0
    for chunk in store.chunks(blob.digest):
        size += len(chunk)
        if size > blob.size_bytes:
            break
        yield chunk
        if on_bytes is not None:
            on_bytes(len(chunk))
    if size != blob.size_bytes:
        raise DamagedBlobError(blob.digest, "has another size than its image says")


def _write_tar(
    file: IO[bytes],
    store: BlobStore,
    documents: Mapping[str, bytes],
    blobs: Sequence[Descriptor],
    on_bytes: OnBytes | None,
) -> None:
    with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path, data in documents.items():
            archive.addfile(_info(path, len(data)), io.BytesIO(data))
        for blob in blobs:
            content = _Reader(_copied(store, blob, on_bytes))
            archive.addfile(_info(_blob_path(blob), blob.size_bytes), content)
            content.finish()


def _info(path: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.size, info.mode, info.mtime = size, 0o644, 0
    return info


class _Reader(io.RawIOBase):
    """Chunks as a file that tarfile reads to the size it was told."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """As of a file."""
        found = bytearray()
        while len(found) < size:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    break
            taken = self._rest[: size - len(found)]
            found += taken
            self._rest = self._rest[len(taken) :]
        return bytes(found)

    def finish(self) -> None:
        """The last chunk was read; now the digest is known. Raises DamagedBlobError."""
        for _ in self._chunks:
            pass


@contextmanager
def _new_file(target: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """A file to fill, which becomes ``target`` at the end of the block, or nothing when it
    raises."""
    with _target_errors_said(target):
        if os.path.lexists(target) and (target.is_dir() or not force):
            raise TargetExistsError(_there_already(target, is_folder=target.is_dir()))
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".inferry-", dir=target.parent)
        try:
            with os.fdopen(handle, "wb", 1024 * 1024) as file:
                yield file
            os.chmod(name, 0o644)
            os.replace(name, target)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)


@contextmanager
def _new_layout(target: Path, *, force: bool) -> Iterator[Path]:
    """A folder to fill, which becomes ``target``; with ``force`` in place of the OCI layout that is
    there. Another folder is never removed."""
    is_layout = target.is_dir() and not target.is_symlink() and (target / "oci-layout").is_file()
    if not (force and is_layout):
        with new_folder(target) as folder:
            yield folder
        return
    with (
        _target_errors_said(target),
        tempfile.TemporaryDirectory(prefix=".inferry-", dir=target.parent) as aside,
    ):
        new, old = Path(aside, "new"), Path(aside, "old")
        new.mkdir()
        yield new
        os.replace(target, old)
        os.replace(new, target)


@contextmanager
def _target_errors_said(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TargetError(f"cannot write '{target}': {error.strerror or error}") from error


def _there_already(target: Path, *, is_folder: bool) -> str:
    what = (
        "is a folder; name a file" if is_folder else "is there already; use --force to overwrite it"
    )
    return f"'{target}' {what}"
