"""What an image's manifest and config say, as far as a device needs it. Pure: both come from a
registry, and were found to have their digests, which says nothing of their sense.
"""

from __future__ import annotations

import msgspec

from edge.errors import PullError
from edge.stock.port import ImageKind, StoredImage, StoredLayer
from registry import fpga_artifact, media_types
from registry.container_config import LAYER_KIND
from registry.media_types import FIND_DIGEST

MAX_LAYERS = 200
LAYERS = (media_types.LAYER, media_types.LAYER_GZIP)


class Descriptor(msgspec.Struct, frozen=True):
    """A blob as a manifest names it."""

    media_type: str = msgspec.field(name="mediaType")
    digest: str
    size: int
    annotations: dict[str, str] | None = None


class Manifest(msgspec.Struct, frozen=True):
    """Of an OCI image manifest, what is read."""

    config: Descriptor
    layers: list[Descriptor]
    media_type: str = msgspec.field(name="mediaType", default=media_types.MANIFEST)
    artifact_type: str | None = msgspec.field(name="artifactType", default=None)
    annotations: dict[str, str] = {}

    @property
    def kind(self) -> ImageKind:
        """Container, bundle or fpga. Raises PullError for other artifacts."""
        if self.artifact_type is None:
            return "container"
        if self.artifact_type == media_types.BUNDLE:
            return "bundle"
        if self.artifact_type == fpga_artifact.ARTIFACT:
            return "fpga"
        raise PullError(f"the image is a {ascii(self.artifact_type)[:80]}, which no device runs")

    def blobs(self) -> dict[str, int]:
        """Size by digest, the config first."""
        return {each.digest: each.size for each in (self.config, *self.layers)}


class _Settings(msgspec.Struct, frozen=True):
    entrypoint: list[str] | None = msgspec.field(name="Entrypoint", default=None)


class _Rootfs(msgspec.Struct, frozen=True):
    diff_ids: list[str] = []


class Config(msgspec.Struct, frozen=True):
    """Of an image's config, what is read."""

    architecture: str = ""
    settings: _Settings | None = msgspec.field(name="config", default=None)
    rootfs: _Rootfs = _Rootfs()


def read_manifest(data: bytes) -> Manifest:
    """Raises PullError."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PullError(f"the image's manifest cannot be read: {error}") from error
    if len(manifest.layers) > MAX_LAYERS:
        raise PullError(f"the image has more than {MAX_LAYERS} layers")
    for each in (manifest.config, *manifest.layers):
        if not FIND_DIGEST.fullmatch(each.digest) or each.size < 0:
            raise PullError("the image's manifest names a blob without digest or size")
    if manifest.kind != "fpga" and any(each.media_type not in LAYERS for each in manifest.layers):
        raise PullError("the image has a layer of a kind that Inferry does not make")
    return manifest


def stored_image(digest: str, manifest: Manifest, config: bytes) -> StoredImage:
    """Raises PullError."""
    kind = manifest.kind
    diff_ids = [""] * len(manifest.layers)
    python_path = None
    if kind != "fpga":
        found = _config(config)
        diff_ids = found.rootfs.diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise PullError("the image's config names other layers than its manifest")
        if not all(FIND_DIGEST.fullmatch(each) for each in diff_ids):
            raise PullError("the image's config names a layer without digest")
        entrypoint = found.settings.entrypoint if found.settings is not None else None
        python_path = entrypoint[0] if kind == "container" and entrypoint else None
    layers = tuple(
        StoredLayer(
            each.digest,
            each.size,
            each.media_type,
            (each.annotations or {}).get(LAYER_KIND, ""),
            diff_id,
        )
        for each, diff_id in zip(manifest.layers, diff_ids, strict=True)
    )
    name = manifest.annotations.get("dev.inferry.name", "")
    version = manifest.annotations.get("dev.inferry.version", "")
    return StoredImage(
        digest,
        kind,
        name,
        int(version) if version.isascii() and version.isdigit() and len(version) < 10 else None,
        layers,
        config,
        manifest.config.digest,
        python_path,
    )


def _config(data: bytes) -> Config:
    try:
        return msgspec.json.decode(data, type=Config)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PullError(f"the image's config cannot be read: {error}") from error
