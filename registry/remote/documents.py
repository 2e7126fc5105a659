"""Manifests and indexes that another registry sent, checked before anything follows them. Pure.

What is believed is what the digest covers; what is not understood is refused by its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry import media_types
from registry.errors import RemoteError
from registry.platforms import Platform
from registry.remote.reference import is_digest
from registry.remote.refusals import plain

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_CONFIG_BYTES = 4 * 1024 * 1024
MAX_BLOB_BYTES = 1 << 44
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
MANIFESTS = (media_types.MANIFEST, media_types.DOCKER_MANIFEST)
INDEXES = (media_types.INDEX, media_types.DOCKER_LIST)
CONFIGS = (media_types.CONFIG, media_types.DOCKER_CONFIG)
LAYERS = (
    media_types.LAYER,
    media_types.LAYER_GZIP,
    media_types.LAYER_ZSTD,
    media_types.DOCKER_LAYER_GZIP,
    DOCKER_LAYER,
)
ACCEPTED = ", ".join((*MANIFESTS, *INDEXES))
ATTESTATION = "vnd.docker.reference.type"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest or index says of a blob or manifest."""

    media_type: str
    digest: str
    size_bytes: int
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or index as it was sent, and what it says."""

    data: bytes
    media_type: str
    fields: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Of the bytes."""
        return digest_of(self.data)

    @property
    def is_index(self) -> bool:
        """Whether it names manifests, not blobs."""
        return self.media_type in INDEXES


def digest_of(data: bytes) -> str:
    """As the store and every registry name the bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def parse_document(data: bytes, content_type: str, what: str) -> Document:
    """A manifest or index. What it says it is must be what the registry says, and what it looks
    like: a document that can be read as both has been used to smuggle (CVE-2021-41190). Raises
    RemoteError."""
    fields = parse_object(data, what)
    sent = content_type.partition(";")[0].strip().lower()
    said = fields.get("mediaType")
    if said is not None and not isinstance(said, str):
        raise RemoteError(f"{what} has a media type that is no text")
    known = sent in (*MANIFESTS, *INDEXES) or sent.startswith(SCHEMA_1)
    if said and known and said != sent:
        raise RemoteError(f"{what} is {plain(said)}, but the registry calls it {sent}")
    media_type = said or (sent if known else _looks_like(fields))
    if media_type.startswith(SCHEMA_1) or (fields.get("schemaVersion") == 1):
        raise RemoteError(f"{what} has the old schema 1; push it again with a current program")
    if fields.get("schemaVersion") != 2:
        raise RemoteError(f"{what} is no image manifest: it has no schemaVersion 2")
    if media_type not in (*MANIFESTS, *INDEXES):
        raise RemoteError(f"{what} has the unknown media type {plain(media_type)}")
    if "manifests" in fields and ("layers" in fields or "config" in fields):
        raise RemoteError(f"{what} is both a manifest and an index; refused")
    return Document(data, media_type, fields)


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises RemoteError."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise RemoteError(f"{what} is no JSON that can be read") from None
    if not isinstance(document, dict):
        raise RemoteError(f"{what} is JSON, but no object")
    return document


def blobs_of(document: Document, what: str) -> tuple[Descriptor, list[Descriptor]]:
    """The config and the layers of a manifest, of any media type. Raises RemoteError."""
    config = parse_descriptor(document.fields.get("config"), f"the config of {what}")
    layers = [
        parse_descriptor(layer, f"layer {number} of {what}")
        for number, layer in enumerate(_list(document.fields, "layers", what), 1)
    ]
    sizes: dict[str, int] = {}
    for blob in (config, *layers):
        if sizes.setdefault(blob.digest, blob.size_bytes) != blob.size_bytes:
            raise RemoteError(f"{what} gives two sizes for {blob.digest}")
    return config, layers


def image_blobs(document: Document, what: str) -> tuple[Descriptor, list[Descriptor]]:
    """As ``blobs_of``, for an image that runs: layers are archives. Raises RemoteError."""
    config, layers = blobs_of(document, what)
    if config.media_type not in CONFIGS:
        raise RemoteError(f"{what} is no container image: its config is {plain(config.media_type)}")
    if config.size_bytes > MAX_CONFIG_BYTES:
        raise RemoteError(f"the config of {what} has more than {MAX_CONFIG_BYTES} bytes")
    for layer in layers:
        if layer.media_type not in LAYERS:
            raise RemoteError(
                f"{what} has a layer of the media type {plain(layer.media_type)}, which is not"
                " known; push the image again with layers of tar, gzip or zstd"
            )
    return config, layers


def manifests_of(document: Document, what: str) -> list[Descriptor]:
    """What an index names. Raises RemoteError."""
    return [
        parse_descriptor(entry, f"entry {number} of {what}")
        for number, entry in enumerate(_list(document.fields, "manifests", what), 1)
    ]


def for_platform(document: Document, platform: Platform, what: str) -> Descriptor:
    """The manifest of an index for that platform. Raises RemoteError, naming those there are."""
    found = [m for m in manifests_of(document, what) if ATTESTATION not in m.annotations]
    fitting = [m for m in found if _fits(m.platform, platform)]
    if not fitting:
        there = sorted({_platform_name(m.platform) for m in found})[:12]
        raise RemoteError(
            f"{what} is not made for {platform}; there are: {', '.join(there) or 'none'}"
        )
    chosen = fitting[0]
    if chosen.media_type not in MANIFESTS:
        raise RemoteError(f"{what} names {plain(chosen.media_type)} for {platform}, not a manifest")
    return chosen


def check_config(config: Mapping[str, Any], platform: Platform, layers: int, what: str) -> None:
    """That the config is of such an image. Raises RemoteError."""
    made_for = _platform_name(config)
    if not _fits(config, platform):
        raise RemoteError(f"{what} is made for {made_for}, not for {platform}")
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or not all(map(is_digest, diff_ids)):
        raise RemoteError(f"the config of {what} has no list of sha256 diff_ids")
    if len(diff_ids) != layers:
        raise RemoteError(f"the config of {what} has {len(diff_ids)} diff_ids for {layers} layers")


def parse_descriptor(value: object, what: str) -> Descriptor:
    """Raises RemoteError for what is no descriptor, or not one of bytes at this registry."""
    if not isinstance(value, dict):
        raise RemoteError(f"{what} is no descriptor")
    media_type, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if not isinstance(media_type, str) or not media_type:
        raise RemoteError(f"{what} has no media type")
    if not is_digest(digest):
        raise RemoteError(f"{what} has no sha256 digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_BLOB_BYTES:
        raise RemoteError(f"{what} has no size that can be")
    if value.get("urls"):
        raise RemoteError(
            f"{what} lies at another address than the registry, which is not followed"
        )
    platform, notes = value.get("platform"), value.get("annotations")
    artifact_type = value.get("artifactType")
    return Descriptor(
        media_type,
        str(digest),
        size,
        artifact_type if isinstance(artifact_type, str) else "",
        {k: v for k, v in notes.items() if isinstance(v, str)} if isinstance(notes, dict) else {},
        platform if isinstance(platform, dict) else {},
    )


def _looks_like(fields: Mapping[str, Any]) -> str:
    """Of a document without a media type, which the image-spec allows."""
    if "fsLayers" in fields:
        return SCHEMA_1
    return media_types.INDEX if "manifests" in fields else media_types.MANIFEST


def _list(fields: Mapping[str, Any], key: str, what: str) -> Sequence[object]:
    value = fields.get(key)
    if not isinstance(value, list):
        raise RemoteError(f"{what} has no list of {key}")
    return value


def _fits(made_for: Mapping[str, Any], platform: Platform) -> bool:
    variant = made_for.get("variant") or ""
    usual = ("", "v8") if platform.architecture == "arm64" else ("",)
    return (
        made_for.get("os") == "linux"
        and made_for.get("architecture") == platform.architecture
        and variant in usual
    )


def _platform_name(made_for: Mapping[str, Any]) -> str:
    parts = (made_for.get(key) for key in ("os", "architecture", "variant"))
    return plain("/".join(part for part in parts if isinstance(part, str) and part)) or "unknown"
