"""The JSON documents of an image, from whoever: index, manifest and config. Pure.

Types and digests are checked when they are read; what is chosen and what is refused is decided
here. OCI and Docker (schema 2) name the same things differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from registry import media_types
from registry.errors import BaseImageError
from registry.platforms import Platform

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
MAX_LAYERS = 512
INDEXES = (media_types.INDEX, media_types.DOCKER_LIST)
MANIFESTS = (media_types.MANIFEST, media_types.DOCKER_MANIFEST)
_CONFIGS = (media_types.CONFIG, media_types.DOCKER_CONFIG)
_LAYERS = {
    media_types.LAYER: media_types.LAYER,
    "application/vnd.docker.image.rootfs.diff.tar": media_types.LAYER,
    media_types.LAYER_GZIP: media_types.LAYER_GZIP,
    media_types.DOCKER_LAYER_GZIP: media_types.LAYER_GZIP,
}
_REFERENCE_NAME = "org.opencontainers.image.ref.name"

Digest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
Size = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Document = TypeVar("_Document", bound=msgspec.Struct)


class PlatformOf(msgspec.Struct, frozen=True):
    """What an index says of a manifest."""

    architecture: str = ""
    os: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """Names a blob."""

    digest: Digest
    size: Size
    media_type: str = ""
    platform: PlatformOf | None = None
    annotations: dict[str, str] | None = None
    urls: list[str] | None = None

    @property
    def tag(self) -> str | None:
        """Its name in a layout."""
        return (self.annotations or {}).get(_REFERENCE_NAME)


class Index(msgspec.Struct, frozen=True):
    """The images of a layout, or of one reference."""

    manifests: Annotated[list[Descriptor], msgspec.Meta(max_length=10_000)]


class Manifest(msgspec.Struct, frozen=True):
    """One image."""

    config: Descriptor
    layers: Annotated[list[Descriptor], msgspec.Meta(min_length=1, max_length=MAX_LAYERS)]


class RootFs(msgspec.Struct, frozen=True):
    """The digests of the plain layers."""

    diff_ids: Annotated[list[Digest], msgspec.Meta(max_length=MAX_LAYERS)]


class Settings(msgspec.Struct, frozen=True, rename="pascal"):
    """What of a config is used; the rest stays as it is."""

    env: list[str] | None = None
    labels: dict[str, str] | None = None
    working_dir: str | None = None


class ImageConfig(msgspec.Struct, frozen=True):
    """The config of one image."""

    architecture: str
    os: str
    rootfs: RootFs
    config: dict[str, Any] | None = None


def decode(data: bytes, kind: type[_Document], what: str) -> _Document:
    """Raises BaseImageError."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BaseImageError(f"its {what} cannot be read: {_line(error)}") from error


def convert(document: Mapping[str, Any], kind: type[_Document], what: str) -> _Document:
    """As ``decode``, of JSON that was read already. Raises BaseImageError."""
    try:
        return msgspec.convert(document, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BaseImageError(f"its {what} cannot be read: {_line(error)}") from error


def choose(index: Index, platform: Platform, tag: str | None = None) -> Descriptor:
    """The manifest, or index, of the platform; with a tag, of those that have it. Raises
    BaseImageError, which names what there is."""
    tagged = [each for each in index.manifests if tag is None or each.tag == tag]
    if not tagged:
        tags = sorted({each.tag for each in index.manifests if each.tag})
        raise BaseImageError(f"it has no image {ascii(tag)[:80]}; there are: {_list(tags)}")
    images = [each for each in tagged if each.media_type in ("", *MANIFESTS, *INDEXES)]
    fitting = [
        each for each in images if each.platform is None or str(each.platform) == str(platform)
    ]
    # One that names its platform is sure to fit; of others, the config will tell.
    named = [each for each in fitting if each.platform is not None]
    found = {each.digest: each for each in named or fitting}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        tags = sorted({each.tag for each in found.values() if each.tag})
        raise BaseImageError(f"it has {len(found)} images; name one of: {_list(tags)}")
    others = sorted({str(each.platform) for each in images if each.platform is not None})
    raise BaseImageError(f"it has no image for {platform}; there are: {_list(others)}")


def check_config(config: ImageConfig, platform: Platform) -> Mapping[str, Any]:
    """The settings for containers. Raises BaseImageError when it is for another platform."""
    said = f"{config.os}/{config.architecture}"
    if said != str(platform):
        raise BaseImageError(f"it is for {ascii(said)[1:-1][:60]}, the image for {platform}")
    settings = config.config or {}
    convert(settings, Settings, "config")
    return settings


def check_manifest(manifest: Manifest, config: ImageConfig) -> None:
    """Raises BaseImageError for what is no container image or has layers that do not fit."""
    count = len(config.rootfs.diff_ids)
    if count != len(manifest.layers):
        raise BaseImageError(
            f"its manifest has {len(manifest.layers)} layers and its config {count}"
        )
    for layer in manifest.layers:
        layer_type(layer)


def check_config_type(manifest: Manifest) -> None:
    """Raises BaseImageError for an artifact, which has no container's config."""
    if manifest.config.media_type not in _CONFIGS:
        kind = ascii(manifest.config.media_type)[:100]
        raise BaseImageError(f"it is no container image: its config is of the type {kind}")


def layer_type(layer: Descriptor) -> str:
    """The OCI name of a layer's type. Raises BaseImageError."""
    said = layer.media_type
    if layer.urls or "foreign" in said or "nondistributable" in said:
        raise BaseImageError("it has a layer that may not be passed on (foreign layer)")
    if said == media_types.LAYER_ZSTD:
        raise BaseImageError(
            "its layers are packed with zstd, which is not supported; copy it with"
            " skopeo copy --dest-compress-format gzip"
        )
    if said not in _LAYERS:
        raise BaseImageError(f"it has a layer of the unknown type {ascii(said)[:100]}")
    return _LAYERS[said]


def environment(settings: Mapping[str, Any]) -> Sequence[str]:
    """``KEY=value`` lines of a config."""
    return settings.get("Env") or ()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(ascii(name)[1:-1][:60] for name in names[:10])
    return shown or "none that has a name"
