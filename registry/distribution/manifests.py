"""Manifests by tag and digest: pulled, pushed, deleted.

A manifest is recorded in the transaction that has seen all that it names, files included; purge
works within one transaction too, so what is recorded is complete and stays so.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from registry.blobs import BlobStore
from registry.database import Database
from registry.distribution import held_blobs, manifest_rows
from registry.distribution.catalog import check_known, find_tag, has_versions
from registry.distribution.errors import Code, DistributionError
from registry.distribution.grammar import check_digest, is_tag, is_version
from registry.distribution.held_blobs import Held
from registry.distribution.manifest import Manifest, media_type_of, parse_manifest
from registry.errors import DamagedBlobError, StoreFullError, WorkspaceDamagedError

MAX_TREE = 10_000
"""Blobs and manifests that a pull may hold at once."""


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was pushed."""

    digest: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push made: the digest, and the subject it refers to."""

    digest: str
    subject: str | None


class Manifests:
    """The manifests of all repositories."""

    def __init__(self, database: Database, store: BlobStore, clock: Callable[[], float]) -> None:
        self._database = database
        self._store = store
        self._clock = clock

    def get(self, repository: str, reference: str) -> StoredManifest:
        """The manifest of a tag or digest; all that it names is held, so that a client that has it
        gets the rest. Raises NAME_UNKNOWN, MANIFEST_UNKNOWN, DIGEST_INVALID, DamagedBlobError."""
        with self._database.read() as connection:
            digest, media_type = _find(connection, repository, reference)
        data = self._read(repository, digest)
        stored = StoredManifest(digest, media_type_of(data) or media_type, data)
        self._hold(repository, stored)
        return stored

    def put(self, repository: str, reference: str, data: bytes, content_type: str | None) -> Pushed:
        """Record a manifest under its digest, and the tag. Raises MANIFEST_INVALID,
        MANIFEST_BLOB_UNKNOWN, SIZE_INVALID, DIGEST_INVALID, TAG_INVALID, DENIED."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        is_tagged = _check_reference(reference, digest)
        manifest = parse_manifest(data, content_type)
        with self._database.write() as connection:
            if is_tagged:
                _check_tag_is_free(connection, repository, reference)
            self._check_complete(connection, repository, manifest)
            BlobStore(self._store.paths).put([data])  # one of its own: ours lives long
            manifest_rows.insert(connection, repository, digest, len(data), manifest)
            for child in manifest.children:
                self._pin(connection, repository, child)
            if is_tagged:
                connection.execute(
                    "INSERT OR REPLACE INTO manifest_tags VALUES (?, ?, ?)",
                    (repository, reference, digest),
                )
        return Pushed(digest, manifest.subject)

    def delete(self, repository: str, reference: str) -> None:
        """Delete a tag, or a manifest with its tags. Raises NAME_UNKNOWN, MANIFEST_UNKNOWN,
        DENIED for what an image or an index needs."""
        with self._database.write() as connection:
            if ":" in reference:
                _delete_manifest(connection, repository, check_digest(reference))
            else:
                _delete_tag(connection, repository, reference)

    def _read(self, repository: str, digest: str) -> bytes:
        try:
            return self._store.read(digest)
        except DamagedBlobError as error:
            if self._store.has(digest):
                raise
            raise DistributionError(
                Code.MANIFEST_UNKNOWN, "the manifest is gone", digest
            ) from error

    def _hold(self, repository: str, stored: StoredManifest) -> None:
        """A disk that cannot be written is no reason not to be read."""
        now = self._clock()
        blobs = self._tree(stored)
        with self._database.read() as connection:
            if held_blobs.are_held(connection, repository, list(blobs), now):
                return
        with suppress(StoreFullError, WorkspaceDamagedError), self._database.write() as connection:
            _find(connection, repository, stored.digest)  # deleted, and perhaps purged, meanwhile
            held_blobs.hold(connection, repository, blobs, now)

    def _tree(self, stored: StoredManifest, depth: int = 1) -> dict[str, Held]:
        """All that a client gets after this manifest, by digest: of an index, its images. No client
        follows indexes in indexes, and a hostile one would have no end."""
        found = _itself(stored)
        with suppress(DistributionError):  # a manifest that older rules let in
            manifest = parse_manifest(stored.data, stored.media_type)
            found |= {digest: Held(size) for digest, size in manifest.blobs.items()}
            for digest in manifest.children:
                if digest not in found and len(found) < MAX_TREE:
                    with suppress(DamagedBlobError):
                        data = self._store.read(digest)
                        media_type = media_type_of(data) or stored.media_type
                        child = StoredManifest(digest, media_type, data)
                        found |= (
                            self._tree(child, depth - 1) if depth else {digest: Held(len(data))}
                        )
        return found

    def _check_complete(
        self, connection: sqlite3.Connection, repository: str, manifest: Manifest
    ) -> None:
        for digest, size in manifest.blobs.items():
            if not held_blobs.is_visible(connection, repository, digest):
                raise _incomplete("a blob that the manifest names is not in the repository", digest)
            self._check_file(digest, size)
        for digest, size in manifest.children.items():
            if not _is_manifest(connection, repository, digest):
                raise _incomplete(
                    "a manifest that the index names is not in the repository", digest
                )
            self._check_file(digest, size)

    def _check_file(self, digest: str, size: int) -> None:
        stored = self._store.size(digest)
        if stored is None:
            raise _incomplete("a blob that the manifest names is gone; push it again", digest)
        if stored != size:
            raise DistributionError(
                Code.SIZE_INVALID, f"the manifest says {size} bytes, the blob has {stored}", digest
            )

    def _pin(self, connection: sqlite3.Connection, repository: str, digest: str) -> None:
        """An index keeps its manifests, also when they are there only for an image's record."""
        data = self._store.read(digest)
        manifest = parse_manifest(data, media_type_of(data) or _listed_type(connection, digest))
        manifest_rows.insert(connection, repository, digest, len(data), manifest)


def _itself(stored: StoredManifest) -> dict[str, Held]:
    return {stored.digest: Held(len(stored.data), stored.media_type)}


def _check_reference(reference: str, digest: str) -> bool:
    """Whether it is a tag. Raises TAG_INVALID, DIGEST_INVALID."""
    if is_tag(reference):
        return True
    if ":" not in reference:
        raise DistributionError(
            Code.TAG_INVALID, "a tag has up to 128 letters, digits, '_', '.' and '-'"
        )
    if check_digest(reference) != digest:
        raise DistributionError(
            Code.DIGEST_INVALID, "the manifest has another digest than the request says", digest
        )
    return False


def _check_tag_is_free(connection: sqlite3.Connection, repository: str, tag: str) -> None:
    if is_version(tag) and has_versions(connection, repository):
        raise DistributionError(
            Code.DENIED, "versions never change; push another tag", f"{repository}:{tag}"
        )


def _find(connection: sqlite3.Connection, repository: str, reference: str) -> tuple[str, str]:
    """Digest and media type."""
    digest = reference
    if ":" in reference:
        check_digest(reference)
    else:
        found = find_tag(connection, repository, reference) if is_tag(reference) else None
        if found is None:
            check_known(connection, repository)
            raise _unknown(f"the repository has no tag {reference[:128]!a}", reference)
        digest = found
    row = connection.execute(
        "SELECT media_type FROM repository_manifests WHERE repository = ?1 AND digest = ?2"
        " UNION ALL SELECT media_type FROM held_blobs"
        " WHERE repository = ?1 AND digest = ?2 AND media_type IS NOT NULL LIMIT 1",
        (repository, digest),
    ).fetchone()
    if row is None:
        check_known(connection, repository)
        raise _unknown("the repository has no such manifest", digest)
    return digest, str(row[0])


def _is_manifest(connection: sqlite3.Connection, repository: str, digest: str) -> bool:
    row = connection.execute(
        "SELECT 1 FROM repository_manifests WHERE repository = ? AND digest = ? LIMIT 1",
        (repository, digest),
    ).fetchone()
    return row is not None


def _listed_type(connection: sqlite3.Connection, digest: str) -> str:
    row = connection.execute(
        "SELECT media_type FROM repository_manifests WHERE digest = ? LIMIT 1", (digest,)
    ).fetchone()
    return str(row[0])


def _delete_tag(connection: sqlite3.Connection, repository: str, tag: str) -> None:
    if is_tag(tag):
        _check_tag_is_free(connection, repository, tag)
    done = connection.execute(
        "DELETE FROM manifest_tags WHERE repository = ? AND tag = ?", (repository, tag)
    )
    if done.rowcount == 0:
        check_known(connection, repository)
        raise _unknown("the repository has no such tag", tag[:128])


def _delete_manifest(connection: sqlite3.Connection, repository: str, digest: str) -> None:
    key = (repository, digest)
    rows = connection.execute(
        "SELECT is_recorded FROM repository_manifests WHERE repository = ? AND digest = ?", key
    ).fetchall()
    if not rows:
        check_known(connection, repository)
        raise _unknown("the repository has no such manifest", digest)
    if any(row[0] for row in rows):
        raise DistributionError(
            Code.DENIED, "it belongs to an image; delete that (inferry image delete)", digest
        )
    index = connection.execute(
        "SELECT manifest FROM manifest_blobs WHERE repository = ? AND digest = ? LIMIT 1", key
    ).fetchone()
    if index is not None:
        raise DistributionError(Code.DENIED, f"{index[0]} names it; delete that first", digest)
    connection.execute("DELETE FROM manifests WHERE repository = ? AND digest = ?", key)
    held_blobs.release(connection, repository, digest)


def _unknown(message: str, detail: str) -> DistributionError:
    return DistributionError(Code.MANIFEST_UNKNOWN, message, detail)


def _incomplete(message: str, digest: str) -> DistributionError:
    return DistributionError(Code.MANIFEST_BLOB_UNKNOWN, message, digest)
