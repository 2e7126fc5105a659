"""What refers to an image in another registry: signatures, SBOMs (distribution-spec, "Listing
Referrers").

A registry without the referrers API, such as Docker's before 3.0, has them in an index under the
tag ``sha256-<hex>``, which whoever pushes keeps up to date.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from registry import media_types
from registry.container_config import encoded
from registry.errors import RemoteError
from registry.remote.documents import (
    Descriptor,
    Document,
    digest_of,
    manifests_of,
    parse_document,
    parse_object,
)
from registry.remote.options import USUAL, RemoteOptions
from registry.remote.reference import ImageReference, check_digest, parse_image_reference
from registry.remote.repository import Repository

UPDATES = 4
"""Of the tag's index, until it has what was added: another pusher may write between."""


def list_referrers(
    reference: ImageReference | str,
    digest: str,
    *,
    artifact_type: str | None = None,
    cancelled: Callable[[], bool] | None = None,
    options: RemoteOptions = USUAL,
) -> list[Descriptor]:
    """The manifests whose subject is ``digest``; only those of ``artifact_type`` if given. What
    they hold is not looked at. Raises InvalidNameError, RemoteError."""
    found = parse_image_reference(reference) if isinstance(reference, str) else reference
    check_digest(digest, "the referred digest")
    with options.client(found, cancelled or (lambda: False)) as client:
        listed = referrers_of(Repository(client, found), digest)
    return [r for r in listed if artifact_type in (None, r.artifact_type)]


def referrers_of(repository: Repository, digest: str) -> list[Descriptor]:
    """By the API, else by the tag."""
    pages = repository.referrers(digest)
    if pages is None:
        index = _tag_index(repository, digest)
        pages = [] if index is None else [index]
    what = f"the referrers of {digest}"
    found = [entry for page in pages for entry in manifests_of(page, what)]
    return list({entry.digest: entry for entry in found}.values())


def push_referrer(repository: Repository, data: bytes) -> int:
    """A manifest with a subject, under its digest, and where the registry has no referrers API in
    the tag's index. Its blobs are there. Returns the bytes sent."""
    document = parse_document(data, media_types.MANIFEST, "the referrer")
    subject = document.fields.get("subject")
    if not isinstance(subject, dict):
        raise RemoteError(f"{document.digest} refers to nothing: it has no subject")
    of = check_digest(subject.get("digest"), "the subject")
    answered = repository.put_manifest(document.digest, data, document.media_type)
    return len(data) + (0 if answered else _update_tag(repository, of, document))


def tag_of(digest: str) -> str:
    """The tag that stands for the referrers of ``digest``."""
    return digest.replace(":", "-")


def described(document: Document) -> dict[str, Any]:
    """The manifest's entry in an index of referrers."""
    fields = document.fields
    config = fields.get("config")
    config_type = config.get("mediaType") if isinstance(config, dict) else None
    entry: dict[str, Any] = {
        "mediaType": document.media_type,
        "digest": document.digest,
        "size": len(document.data),
        "artifactType": fields.get("artifactType") or config_type,
        "annotations": fields.get("annotations"),
    }
    return {key: value for key, value in entry.items() if value}


def _update_tag(repository: Repository, subject: str, document: Document) -> int:
    """Add the manifest to the subject's index, keeping what is there. Returns the bytes sent."""
    sent = 0
    for _ in range(UPDATES):
        index = _tag_index(repository, subject)
        known = index.fields["manifests"] if index is not None else []
        if any(isinstance(e, dict) and e.get("digest") == document.digest for e in known):
            return sent
        entries = sorted([*known, described(document)], key=_order)
        data = encoded({"schemaVersion": 2, "mediaType": media_types.INDEX, "manifests": entries})
        repository.put_manifest(tag_of(subject), data, media_types.INDEX)
        sent += len(data)
        if _has_digest(repository, subject, digest_of(data)):
            return sent
    raise RemoteError(f"others keep changing the referrers of {subject}; try again")


def _has_digest(repository: Repository, subject: str, digest: str) -> bool:
    index = _tag_index(repository, subject)
    return index is not None and index.digest == digest


def _tag_index(repository: Repository, digest: str) -> Document | None:
    index = repository.find_manifest(tag_of(digest))
    if index is not None and not index.is_index:
        raise RemoteError(
            f"the tag {repository.name(tag_of(digest))} should be an index of referrers, but is"
            " an image; remove it"
        )
    if index is not None:
        manifests_of(index, f"the referrers of {digest}")
    return index


def _order(entry: Mapping[str, Any]) -> str:
    """So that two pushes in any order give the same index."""
    return str(entry.get("digest"))


def stored_manifest(data: bytes, what: str) -> Document:
    """A manifest of our own store."""
    media_type = parse_object(data, what).get("mediaType")
    return parse_document(data, media_type if isinstance(media_type, str) else "", what)
