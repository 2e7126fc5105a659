"""What an image carries about itself: its SBOM, and the workspace's signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from registry import sbom, trust
from registry.blobs import NO_SPACE, BlobStore, disk_error
from registry.dependencies import Lock
from registry.errors import TrustError
from registry.records import Image, ImageDetails, Model
from registry.trust import Artifact, Descriptor, ImageStatement, PublicKey, StatedModel, Verified


@dataclass(frozen=True, slots=True)
class Attached:
    """A stored manifest that refers to the image, and the sizes of all its blobs by digest."""

    digest: str
    size_bytes: int
    artifact_type: str
    subject: str
    blobs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is said of an image. ``details`` lacks the referrers themselves."""

    name: str
    version: int
    digest: str
    size_bytes: int
    models: Sequence[Model]
    details: ImageDetails
    base_name: str | None = None
    lock: Lock | None = None
    wheels: Sequence[Path] = ()


def attest(store: BlobStore, keys: Path, facts: Facts) -> tuple[Attached, ...]:
    """Store the SBOM and the signature. Raises TrustError when the workspace's key cannot be used,
    StoreFullError."""
    key = _key(keys)
    subject = Descriptor(facts.digest, facts.size_bytes)
    bill = _sbom(facts)
    statement = trust.statement_bytes(_statement(facts, trust.artifacts.sha256(bill)))
    return tuple(
        _stored(store, artifact, facts.digest)
        for artifact in (
            trust.sbom_manifest(subject, bill),
            trust.signature_manifest(subject, trust.sign(statement, [key])),
        )
    )


def check(store: BlobStore, image: Image, trusted: Sequence[PublicKey]) -> Verified:
    """Check the signature and the SBOM of an image in the store, but not its layers. Raises
    TrustError, DamagedBlobError."""
    if image.digest is None:
        raise TrustError(f"image {image.reference} was not made")
    referrers = [_content(store, digest) for digest in image.details.referrers]
    return trust.verify(
        image.digest, store.read(image.digest), referrers, trusted, reference=image.reference
    )


def _content(store: BlobStore, digest: str) -> tuple[bytes, bytes]:
    """A referrer's manifest and its only blob. What is wrong with either is for trust to say."""
    manifest = store.read(digest)
    referrer = trust.artifacts.read_referrer(manifest)
    return manifest, b"" if referrer is None else store.read(referrer.content.digest)


def builder_version() -> str:
    """Inferry's own."""
    try:
        return version("inferry")
    except PackageNotFoundError:
        return "unknown"


def _key(folder: Path) -> trust.WorkspaceKey:
    try:
        return trust.WorkspaceKey.load_or_create(folder)
    except TrustError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in NO_SPACE:
            raise disk_error(cause) from error
        raise


def _stored(store: BlobStore, artifact: Artifact, subject: str) -> Attached:
    blobs = dict(store.put([blob]) for blob in artifact.blobs)
    digest, size = store.put([artifact.manifest])
    return Attached(digest, size, artifact.artifact_type, subject, {**blobs, digest: size})


def _statement(facts: Facts, sbom_digest: str) -> ImageStatement:
    return ImageStatement(
        facts.digest,
        facts.name,
        facts.version,
        facts.details.kind,
        facts.details.platform or "any",
        tuple(StatedModel(model.name, model.version, model.digest) for model in facts.models),
        builder_version(),
        None if facts.lock is None else facts.lock.digest,
        facts.details.base_digest,
        sbom_digest,
        facts.details.revision,
    )


def _sbom(facts: Facts) -> bytes:
    details = facts.details
    base = None
    if details.base_digest is not None:
        base = sbom.BaseInfo(facts.base_name or "base", details.base_digest)
    return sbom.make_sbom(
        name=facts.name,
        version=facts.version,
        platform=details.platform or "any",
        builder_version=builder_version(),
        packages=[] if facts.lock is None else _packages(facts.lock, facts.wheels),
        models=[
            sbom.ModelInfo(m.name, m.version, m.digest, m.description, m.files)
            for m in facts.models
        ],
        base=base,
        server=None if facts.lock is None else sbom.ServerInfo(builder_version()),
    )


def _packages(lock: Lock, wheels: Sequence[Path]) -> list[sbom.PackageInfo]:
    """With what each wheel says of itself, where it is at hand."""
    there = {path.name: path for path in wheels}
    return [
        sbom.package_info(there[wheel.file], sha256=wheel.sha256)
        if wheel.file in there
        else sbom.PackageInfo(wheel.name, wheel.version, wheel.file, wheel.sha256)
        for wheel in lock.wheels
    ]
