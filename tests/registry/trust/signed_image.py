"""An image that is signed as it should be, whose parts a test can exchange one at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from registry import media_types
from registry.trust import (
    Artifact,
    Descriptor,
    ImageStatement,
    PublicKey,
    StatedModel,
    Verified,
    sbom_manifest,
    sign,
    signature_manifest,
    statement_bytes,
    verify,
)
from registry.trust.artifacts import sha256
from registry.trust.ed25519 import generate, read_private
from registry.trust.envelope import Signer
from registry.trust.keys import WorkspaceKey

MODEL = StatedModel("net", 3, "sha256:" + "a" * 64)
SBOM = b'{"bomFormat":"CycloneDX"}'


@dataclass(frozen=True, slots=True)
class SignedImage:
    """A manifest and what refers to it, as a registry serves them."""

    manifest: bytes
    referrers: tuple[tuple[bytes, bytes], ...]

    @property
    def digest(self) -> str:
        """The manifest's."""
        return sha256(self.manifest)

    def check(self, trusted: Sequence[PublicKey], *, reference: str | None = None) -> Verified:
        """As a device would."""
        return verify(self.digest, self.manifest, self.referrers, trusted, reference=reference)


def new_key() -> WorkspaceKey:
    """A key in memory."""
    private, raw = read_private(generate(), "the key")
    return WorkspaceKey(private, PublicKey(raw))


def image_manifest(**annotations: str | None) -> bytes:
    """The manifest of net-image:2; an annotation that is None is not there."""
    known = {
        "dev.inferry.name": "net-image",
        "dev.inferry.version": "2",
        "dev.inferry.models": f"net:3@{MODEL.digest}",
        "org.opencontainers.image.revision": "f" * 40,
    }
    changed = {key.replace("__", "."): value for key, value in annotations.items()}
    kept = {key: value for key, value in (known | changed).items() if value is not None}
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "config": {},
        "layers": [],
        "annotations": kept,
    }
    return encoded(document)


def statement(manifest: bytes, **changes: Any) -> ImageStatement:
    """What is to be said of it."""
    facts: dict[str, Any] = {
        "manifest_digest": sha256(manifest),
        "name": "net-image",
        "version": 2,
        "kind": "docker",
        "platform": "linux/amd64",
        "models": (MODEL,),
        "builder_version": "0.1.0",
        "lock_digest": "sha256:" + "b" * 64,
        "base_digest": "sha256:" + "c" * 64,
        "sbom_digest": sha256(SBOM),
        "revision": "f" * 40,
    }
    return ImageStatement(**(facts | changes))


def signed(
    signers: Sequence[Signer],
    manifest: bytes | None = None,
    *,
    payload: bytes | None = None,
    envelope: bytes | None = None,
    sbom: bytes | None = SBOM,
    **changes: Any,
) -> SignedImage:
    """The image with an SBOM and a signature. ``payload`` and ``envelope`` stand for what would be
    made; ``changes`` are the statement's."""
    data = image_manifest() if manifest is None else manifest
    subject = Descriptor(sha256(data), len(data))
    said = statement_bytes(statement(data, **changes)) if payload is None else payload
    wrapped = sign(said, signers) if envelope is None else envelope
    boms = [] if sbom is None else [sbom_manifest(subject, sbom)]
    return SignedImage(data, tuple(map(pair, [*boms, signature_manifest(subject, wrapped)])))


def pair(artifact: Artifact) -> tuple[bytes, bytes]:
    """A referrer as ``verify`` takes it."""
    return artifact.manifest, artifact.blobs[-1]


def encoded(document: object) -> bytes:
    """As JSON."""
    return json.dumps(document).encode()
