"""What speaks for an image: its manifest, signature and SBOM. All small; what is here already is
not fetched, so that a pull that begins anew costs one list.
"""

from __future__ import annotations

from contextlib import suppress

from edge.stock.documents import Descriptor
from registry.blobs import BlobStore
from registry.errors import DamagedBlobError, RemoteError, TrustError
from registry.remote.documents import MAX_MANIFEST_BYTES
from registry.remote.failures import UnreachableError
from registry.remote.referrers import referrers_of
from registry.remote.repository import Repository
from registry.remote.retrying import TransientError
from registry.trust.artifacts import SBOM, SIGNATURE, read_referrer
from registry.trust.verification import MAX_REFERRERS

MAX_SMALL_BYTES = 8 * 1024 * 1024
"""Of a config, a signature and an SBOM."""
MAX_ALL_BYTES = 2 * MAX_SMALL_BYTES
"""Of all that speaks for one image: whoever may push may add to it."""
REFUSED = (401, 403)


def manifest_of(repository: Repository, blobs: BlobStore, digest: str) -> bytes:
    """Of an image, or of what refers to it. Raises RemoteError."""
    stored = _stored(blobs, digest, MAX_MANIFEST_BYTES)
    return repository.manifest(digest).data if stored is None else stored


def read_referrers(
    repository: Repository, blobs: BlobStore, digest: str
) -> list[tuple[bytes, bytes]]:
    """The manifest and the only blob of each signature and SBOM, as ``verify`` takes them. One that
    cannot be had is passed over: anybody may have added it. Raises RemoteError for the network."""
    found: list[tuple[bytes, bytes]] = []
    left = MAX_ALL_BYTES
    listed_all = referrers_of(repository, digest)
    # Others may refer to it as often as they like, and hide no signature.
    ours = [e for e in listed_all if not e.artifact_type or e.artifact_type in (SIGNATURE, SBOM)]
    for listed in ours[:MAX_REFERRERS]:
        try:
            pair = _referrer(repository, blobs, listed.digest, min(left, MAX_SMALL_BYTES))
        except RemoteError as error:
            if _is_ours(error):
                raise
            continue
        if pair is not None:
            found.append(pair)
            left -= len(pair[1])
    return found


def _referrer(
    repository: Repository, blobs: BlobStore, digest: str, limit: int
) -> tuple[bytes, bytes] | None:
    manifest = manifest_of(repository, blobs, digest)
    try:
        referrer = read_referrer(manifest)
    except TrustError:  # the trust rules say what is wrong with it
        return manifest, b""
    if referrer is None or not 0 <= referrer.content.size_bytes <= limit:
        return None
    content = referrer.content
    blob = Descriptor(content.media_type, content.digest, content.size_bytes)
    return manifest, _small(repository, blobs, blob)


def _small(repository: Repository, blobs: BlobStore, blob: Descriptor) -> bytes:
    stored = _stored(blobs, blob.digest, blob.size)
    if stored is not None:
        return stored
    with repository.blob(blob.digest, 0) as answer:
        return answer.read(blob.size, "file about an image")


def _stored(blobs: BlobStore, digest: str, limit: int) -> bytes | None:
    if (blobs.size(digest) or limit + 1) > limit:
        return None
    with suppress(DamagedBlobError):
        return blobs.read(digest)
    return None


def _is_ours(error: RemoteError) -> bool:
    """Whether it is about the network, or about us, and not about the referrer."""
    return (
        isinstance(error, TransientError | UnreachableError)
        or error.status in REFUSED
        or error.__cause__ is not None
    )
