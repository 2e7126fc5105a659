"""Who made an image, and that it is unchanged: keys, signatures, statements, and how they are
checked.

An image's manifest digest stands for all its bytes. The workspace signs a statement about that
digest (in-toto Statement v1 in a DSSE envelope, Ed25519); the envelope and the image's SBOM are
kept as OCI referrers of the image. A device checks them with ``verification`` alone, which needs
neither files nor a network.

    key = WorkspaceKey.load_or_create(paths.keys)
    envelope = sign(statement_bytes(statement), [key])
    verified = verify(digest, manifest, referrers, [key.public])
"""

from registry.trust.artifacts import Artifact, Descriptor, sbom_manifest, signature_manifest
from registry.trust.envelope import sign
from registry.trust.keys import WorkspaceKey
from registry.trust.public_key import PublicKey, parse_public_key
from registry.trust.statement import ImageStatement, StatedModel, statement_bytes
from registry.trust.verification import Verified, verify

__all__ = [
    "Artifact",
    "Descriptor",
    "ImageStatement",
    "PublicKey",
    "StatedModel",
    "Verified",
    "WorkspaceKey",
    "parse_public_key",
    "sbom_manifest",
    "sign",
    "signature_manifest",
    "statement_bytes",
    "verify",
]
