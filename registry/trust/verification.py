"""The trust rules: whether an image is what its maker signed. Pure: no files, no network, so that
a device decides as the registry does.

What is trusted are the keys, and nothing else: the image's manifest, the referrers and whoever
served them may all be hostile. A referrer that does not hold is passed over, since anybody may add
one; the image is verified when one signature holds in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.errors import TrustError
from registry.trust import strict_json
from registry.trust.artifacts import SIGNATURE, Referrer, read_referrer, sha256
from registry.trust.envelope import verify_envelope
from registry.trust.public_key import PublicKey
from registry.trust.statement import ImageStatement, read_statement

MAX_REFERRERS = 64
"""Each costs a signature check at most for every key: more is someone wasting our time."""
MAX_SHOWN = 3
"""Complaints in a message."""
NAME = "dev.inferry.name"
VERSION = "dev.inferry.version"
MODELS = "dev.inferry.models"
REVISION = "org.opencontainers.image.revision"
BASE_DIGEST = "org.opencontainers.image.base.digest"


@dataclass(frozen=True, slots=True)
class Verified:
    """An image that holds: what its maker says of it, the trusted keys that say so, and its SBOM,
    unless the statement says that it has none."""

    statement: ImageStatement
    keys: tuple[PublicKey, ...]
    sbom: bytes | None


@dataclass(frozen=True, slots=True)
class _Image:
    digest: str
    size_bytes: int
    annotations: Mapping[str, Any]


def verify(
    digest: str,
    manifest: bytes,
    referrers: Sequence[tuple[bytes, bytes]],
    trusted: Sequence[PublicKey],
    *,
    reference: str | None = None,
) -> Verified:
    """Check the image whose manifest has ``digest``. ``referrers``: the manifest of each artifact
    that refers to it, with the artifact's only blob. ``reference``: the ``name:version`` that was
    asked for; without it, any image of a trusted key will do, another version too.

    Raises TrustError, which says what is wrong."""
    if not trusted:
        raise TrustError("no key is trusted, so no image can be verified")
    if len(referrers) > MAX_REFERRERS:
        raise TrustError(f"the image has more than {MAX_REFERRERS} referrers")
    image = _read_image(digest, manifest)
    complaints: list[str] = []
    found = [
        (referrer, blob)
        for data, blob in referrers
        if (referrer := _readable(data, blob, image, complaints)) is not None
    ]
    sboms = [blob for referrer, blob in found if referrer.artifact_type != SIGNATURE]
    for referrer, blob in found:
        if referrer.artifact_type == SIGNATURE:
            try:
                return _verified(blob, image, sboms, trusted, reference)
            except TrustError as error:
                complaints.append(str(error))
    raise _refused(complaints)


def _verified(
    envelope: bytes,
    image: _Image,
    sboms: Sequence[bytes],
    trusted: Sequence[PublicKey],
    reference: str | None,
) -> Verified:
    payload, keys = verify_envelope(envelope, trusted)
    statement = read_statement(payload)
    if statement.manifest_digest != image.digest:
        raise TrustError(
            f"the signature is one of another image, {statement.reference}"
            f" ({statement.manifest_digest})"
        )
    if reference is not None and statement.reference != reference:
        raise TrustError(f"the image is {statement.reference}, where {reference} was asked for")
    _check_annotations(statement, image.annotations)
    return Verified(statement, keys, _matching_sbom(statement, sboms))


def _check_annotations(statement: ImageStatement, annotations: Mapping[str, Any]) -> None:
    """The manifest says of itself what the statement says of it. A difference means that the maker
    signed what it did not make."""
    models = ",".join(f"{m.name}:{m.version}@{m.digest}" for m in statement.models)
    stated = {NAME: statement.name, VERSION: str(statement.version), MODELS: models}
    if statement.revision is not None or REVISION in annotations:
        stated[REVISION] = statement.revision or ""
    if BASE_DIGEST in annotations:
        stated[BASE_DIGEST] = statement.base_digest or ""
    for key, value in stated.items():
        if annotations.get(key) != value:
            raise TrustError(
                f"the image says that its {key} is {ascii(annotations.get(key))[:80]},"
                f" the signed statement says {ascii(value)[:80]}"
            )


def _matching_sbom(statement: ImageStatement, sboms: Sequence[bytes]) -> bytes | None:
    if statement.sbom_digest is None:
        return None
    if not sboms:
        raise TrustError("the image's SBOM is missing")
    for sbom in sboms:
        if sha256(sbom) == statement.sbom_digest:
            return sbom
    raise TrustError("the image's SBOM is not the one that was signed")


def _read_image(digest: str, manifest: bytes) -> _Image:
    what = "the image's manifest"
    strict_json.checked_digest(digest, "the image has no digest")
    if sha256(manifest) != digest:
        raise TrustError(f"{what} does not have the digest {digest}: it was changed")
    document = strict_json.read_object(manifest, what)
    return _Image(digest, len(manifest), strict_json.mapping(document, "annotations", what))


def _readable(
    manifest: bytes, blob: bytes, image: _Image, complaints: list[str]
) -> Referrer | None:
    try:
        referrer = read_referrer(manifest)
        if referrer is not None:
            _check_referrer(referrer, blob, image)
    except TrustError as error:
        complaints.append(str(error))
        return None
    return referrer


def _check_referrer(referrer: Referrer, blob: bytes, image: _Image) -> None:
    what = "signature" if referrer.artifact_type == SIGNATURE else "SBOM"
    if referrer.subject.digest != image.digest:
        raise TrustError(f"a {what} is one of another image ({referrer.subject.digest})")
    if referrer.subject.size_bytes != image.size_bytes:
        raise TrustError(f"a {what} is one of an image of another size")
    if referrer.content.size_bytes != len(blob) or referrer.content.digest != sha256(blob):
        raise TrustError(f"a {what} does not have the bytes that its manifest names")


def _refused(complaints: Sequence[str]) -> TrustError:
    if not complaints:
        return TrustError("the image is not signed")
    shown = list(dict.fromkeys(complaints))
    more = ["..."] if len(shown) > MAX_SHOWN else []
    return TrustError("; ".join([*shown[:MAX_SHOWN], *more]))
