"""Takes an image out of the workspace, to another registry or a file, and checks one that is in it.
Its SBOM and signature go along."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from registry import attestation, media_types, trust
from registry.blobs import BlobStore
from registry.errors import TrustError
from registry.export import export_docker, export_oci, exported_bytes
from registry.paths import WorkspacePaths
from registry.records import Image
from registry.trust import PublicKey, Verified

if TYPE_CHECKING:
    from registry.remote.pushing import PushReport

Progress = Callable[[int, int], None]
Format = Literal["oci", "docker"]


def push(
    store: BlobStore,
    image: Image,
    digest: str,
    target: str,
    *,
    insecure: bool,
    ca_file: Path | None,
    on_progress: Progress | None,
) -> PushReport:
    """Copy the image to the registry that ``target`` names; without a tag there, its version is the
    tag. Raises RemoteError."""
    from registry.remote import parse_image_reference  # httpx: 0.2 s that only a push pays
    from registry.remote.options import RemoteOptions
    from registry.remote.pushing import push_image

    reference = parse_image_reference(target)
    if ":" not in target.rpartition("/")[2] and reference.digest is None:
        reference = parse_image_reference(f"{target}:{image.version}")
    counted = _Counted(on_progress)
    return push_image(
        reference,
        digest,
        store,
        counted.add,
        referrers=image.details.referrers,
        on_total=counted.start,
        options=RemoteOptions(insecure=insecure, ca_file=ca_file),
    )


def export(
    store: BlobStore,
    image: Image,
    digest: str,
    target: Path,
    *,
    form: Format,
    force: bool,
    on_progress: Progress | None,
) -> Path:
    """Write the image as an OCI layout, or as a tar for ``docker load``. Raises TargetError."""
    referrers = [_descriptor(store, each) for each in image.details.referrers]
    counted = _Counted(on_progress)
    if form == "docker":
        counted.start(exported_bytes(store, digest))
        export_docker(store, digest, image.reference, target, force=force, on_bytes=counted.add)
    else:
        counted.start(exported_bytes(store, digest, referrers))
        export_oci(
            store, digest, referrers, image.reference, target, force=force, on_bytes=counted.add
        )
    return target


def verify(
    store: BlobStore, paths: WorkspacePaths, image: Image, digest: str, keys: Sequence[str]
) -> Verified:
    """Read every byte of the image, and check its signature and SBOM; ``keys`` are trusted: files
    or ``ed25519:...``, by default the workspace's own. Raises TrustError, DamagedBlobError."""
    for each in (digest, *image.details.referrers):
        manifest = json.loads(store.read(each))
        for blob in (manifest["config"], *manifest["layers"]):
            store.open(blob["digest"]).close()
    trusted = [_public_key(key) for key in keys] or [trust.WorkspaceKey.load(paths.keys).public]
    return attestation.check(store, image, trusted)


def _public_key(given: str) -> PublicKey:
    if given.startswith("ed25519:"):
        return trust.parse_public_key(given)
    try:
        data = Path(given).read_bytes()
    except OSError as error:
        raise TrustError(f"cannot read the key '{given}': {error.strerror}") from error
    return trust.parse_public_key(data)


def _descriptor(store: BlobStore, digest: str) -> dict[str, str | int]:
    return {
        "mediaType": media_types.MANIFEST,
        "digest": digest,
        "size": len(store.read(digest)),
    }


class _Counted:
    """Bytes one after the other, as bytes done of a total."""

    def __init__(self, on_progress: Progress | None) -> None:
        self._on_progress = on_progress
        self._done = self._total = 0

    def start(self, total: int) -> None:
        self._total = total

    def add(self, count: int) -> None:
        self._done += count
        if self._on_progress is not None and self._total:
            self._on_progress(min(self._done, self._total), self._total)
