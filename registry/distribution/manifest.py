"""What a pushed manifest says, and whether it makes sense by itself. Pure.

Whether what it names is there is checked where it is recorded (manifests.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from registry import media_types
from registry.distribution.errors import Code, DistributionError, TooLargeError
from registry.distribution.grammar import check_digest

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_IMAGES = (media_types.MANIFEST, media_types.DOCKER_MANIFEST)
_INDEXES = (media_types.INDEX, media_types.DOCKER_LIST)


class _Descriptor(msgspec.Struct):
    digest: str
    size: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    media_type: str = msgspec.field(default="", name="mediaType")


class _Document(msgspec.Struct):
    schema_version: int = msgspec.field(name="schemaVersion")
    media_type: str = msgspec.field(default="", name="mediaType")
    artifact_type: str = msgspec.field(default="", name="artifactType")
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    subject: _Descriptor | None = None
    annotations: dict[str, str] | None = None


_DECODER = msgspec.json.Decoder(_Document)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest: the sizes of the ``blobs`` and ``children`` (manifests) that must be there."""

    media_type: str
    blobs: Mapping[str, int]
    children: Mapping[str, int]
    subject: str | None
    artifact_type: str | None
    annotations: Mapping[str, str]


def parse_manifest(data: bytes, content_type: str | None) -> Manifest:
    """The manifest that was pushed as ``content_type``. Raises MANIFEST_INVALID, SIZE_INVALID,
    DIGEST_INVALID."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise TooLargeError("a manifest", MAX_MANIFEST_BYTES)
    document = _decode(data)
    media_type = _media_type(document, content_type)
    if document.subject is not None:
        check_digest(document.subject.digest)
    is_index = media_type in _INDEXES
    blobs = {} if is_index else _blobs(document)
    children = _children(document) if is_index else {}
    return Manifest(
        media_type=media_type,
        blobs=blobs,
        children=children,
        subject=None if document.subject is None else document.subject.digest,
        artifact_type=_artifact_type(document),
        annotations=document.annotations or {},
    )


def media_type_of(data: bytes) -> str | None:
    """What a stored manifest says that it is, if it does."""
    try:
        return _decode(data).media_type or None
    except DistributionError:
        return None


def _decode(data: bytes) -> _Document:
    try:
        document = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _invalid(f"the manifest cannot be read: {error}") from None
    except RecursionError:
        raise _invalid("the manifest is nested too deep") from None
    if document.schema_version != 2:
        raise _invalid(f"schemaVersion {document.schema_version} is not served, only 2 is")
    return document


def _media_type(document: _Document, content_type: str | None) -> str:
    said = (content_type or "").partition(";")[0].strip().lower()
    media_type = said or document.media_type
    if media_type not in (*_IMAGES, *_INDEXES):
        raise _invalid(f"manifests of type {media_type[:100]!a} are not served")
    if document.media_type not in ("", media_type):
        raise _invalid(
            f"the manifest says it is {document.media_type[:100]!a}, the request {media_type!a}"
        )
    return media_type


def _blobs(document: _Document) -> dict[str, int]:
    if document.config is None or document.layers is None:
        raise _invalid("an image manifest has a config and layers")
    if document.manifests is not None:
        raise _invalid("a manifest with layers and manifests could be read in two ways")
    return _sizes([document.config, *filter(_is_kept, document.layers)])


def _is_kept(layer: _Descriptor) -> bool:
    """Layers that may not be distributed stay where they are."""
    return "nondistributable" not in layer.media_type and ".foreign." not in layer.media_type


def _children(document: _Document) -> dict[str, int]:
    if document.manifests is None:
        raise _invalid("an index has manifests")
    if document.config is not None or document.layers is not None:
        raise _invalid("an index with layers or config could be read in two ways")
    return _sizes(document.manifests)


def _sizes(descriptors: list[_Descriptor]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for descriptor in descriptors:
        check_digest(descriptor.digest)
        if sizes.setdefault(descriptor.digest, descriptor.size) != descriptor.size:
            raise DistributionError(
                Code.SIZE_INVALID, "a blob is named with two sizes", descriptor.digest
            )
    return sizes


def _artifact_type(document: _Document) -> str | None:
    """As referrers list it: of an image manifest without one, the type of its config."""
    if document.artifact_type:
        return document.artifact_type
    return None if document.config is None else document.config.media_type or None


def _invalid(message: str) -> DistributionError:
    return DistributionError(Code.MANIFEST_INVALID, message)
