"""The OCI artifacts that carry an image's signature and SBOM: manifests whose ``subject`` is the
image, which a registry lists as its referrers (image-spec, manifest.md; distribution-spec). Pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from registry import media_types
from registry.errors import TrustError
from registry.trust import strict_json

SIGNATURE = "application/vnd.dsse.envelope.v1+json"
SBOM = "application/vnd.cyclonedx+json"
EMPTY_CONFIG = b"{}"
_EMPTY_DIGEST = f"sha256:{hashlib.sha256(EMPTY_CONFIG).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What names some stored bytes."""

    digest: str
    size_bytes: int
    media_type: str = media_types.MANIFEST


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest and the blobs that it names, all of them to be stored."""

    artifact_type: str
    manifest: bytes
    blobs: tuple[bytes, ...]

    @property
    def descriptor(self) -> Descriptor:
        """The manifest's."""
        return Descriptor(sha256(self.manifest), len(self.manifest))


@dataclass(frozen=True, slots=True)
class Referrer:
    """What the manifest of a signature or SBOM says: which image it is for, and its only blob."""

    artifact_type: str
    subject: Descriptor
    content: Descriptor


def signature_manifest(subject: Descriptor, envelope: bytes) -> Artifact:
    """The artifact that carries a DSSE ``envelope`` about ``subject``."""
    return _artifact(SIGNATURE, subject, envelope)


def sbom_manifest(subject: Descriptor, sbom: bytes) -> Artifact:
    """The artifact that carries the CycloneDX ``sbom`` of ``subject``."""
    return _artifact(SBOM, subject, sbom)


def read_referrer(manifest: bytes) -> Referrer | None:
    """A signature's or SBOM's manifest; None for an artifact of another kind, which is not ours to
    judge. Raises TrustError."""
    what = "a referrer of the image"
    document = strict_json.read_object(manifest, what)
    artifact_type = document.get("artifactType")
    if artifact_type not in (SIGNATURE, SBOM):
        return None
    if document.get("mediaType") != media_types.MANIFEST:
        raise TrustError(f"{what} is no OCI manifest")
    config = _descriptor(strict_json.mapping(document, "config", what), what)
    if config != Descriptor(_EMPTY_DIGEST, len(EMPTY_CONFIG), media_types.EMPTY):
        raise TrustError(f"{what} has a config, where a signature or SBOM has an empty one")
    layers = [_descriptor(layer, what) for layer in strict_json.objects(document, "layers", what)]
    if len(layers) != 1 or layers[0].media_type != artifact_type:
        raise TrustError(f"{what} does not have just one file of type {artifact_type}")
    subject = _descriptor(strict_json.mapping(document, "subject", what), what)
    return Referrer(artifact_type, subject, layers[0])


def sha256(data: bytes) -> str:
    """The digest ``sha256:<hex>``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _artifact(artifact_type: str, subject: Descriptor, content: bytes) -> Artifact:
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "artifactType": artifact_type,
        "config": _json(Descriptor(_EMPTY_DIGEST, len(EMPTY_CONFIG), media_types.EMPTY)),
        "layers": [_json(Descriptor(sha256(content), len(content), artifact_type))],
        "subject": _json(subject),
    }
    return Artifact(artifact_type, strict_json.encoded(manifest), (EMPTY_CONFIG, content))


def _json(descriptor: Descriptor) -> dict[str, Any]:
    return {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size_bytes,
    }


def _descriptor(document: dict[str, Any], what: str) -> Descriptor:
    return Descriptor(
        strict_json.digest(document, "digest", what),
        strict_json.number(document, "size", what),
        strict_json.text(document, "mediaType", what),
    )
