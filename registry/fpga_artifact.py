"""FPGA images: an OCI artifact in the store, and the bundle folder that it unpacks to.

    manifest (artifactType ARTIFACT, empty config), a layer for each file, titled by its path:
      bundle.json       as of any image (registry/bundle_file.py); the engine is ENGINE
      design.bit        the bitstream; PYNQ wants the .hwh beside it, of the same stem
      design.hwh        the hardware description
      weights.bin
      code/score.py     if there is one
      manifest.json     what fpga/ says of its design, with ``provenance``

The contents come from fpga/, which this module does not know. Equal contents, equal digests. Where
a bitstream comes from is said twice, in manifest.json for the board and in the OCI manifest for who
decides what a board pulls; both must agree.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from registry import media_types
from registry.blobs import CHUNK_BYTES, BlobStore
from registry.bundle_file import SCHEMA_VERSION, BundleFile, ModelEntry
from registry.container_config import encoded, image_annotations
from registry.errors import DamagedBlobError, ImageFailedError, InvalidSourceError
from registry.folders import new_folder, write_file
from registry.records import Model

OnBytes = Callable[[int], None]
ARTIFACT = "application/vnd.inferry.fpga.v1"
ENGINE = "fpga.engine:FpgaEngine"
PROVENANCES = ("vivado", "openxc7", "simulation")
PROVENANCE = "dev.inferry.fpga.provenance"
TITLE = "org.opencontainers.image.title"
SCRIPT = "score.py"
MIB = 1024 * 1024
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of file of an artifact."""

    what: str
    path: str
    media_type: str
    max_bytes: int
    is_required: bool = True


BUNDLE = Part("bundle", "bundle.json", "application/vnd.inferry.bundle.file.v1+json", MIB)
BITSTREAM = Part("bitstream", "design.bit", "application/vnd.inferry.fpga.bitstream.v1", 256 * MIB)
HARDWARE = Part("hardware", "design.hwh", "application/vnd.inferry.fpga.hardware.v1+xml", 16 * MIB)
WEIGHTS = Part("weights", "weights.bin", "application/vnd.inferry.fpga.weights.v1", 1024 * MIB)
CODE = Part("script", f"code/{SCRIPT}", "text/x-python", MIB, is_required=False)
MANIFEST = Part("manifest", "manifest.json", "application/vnd.inferry.fpga.manifest.v1+json", MIB)
PARTS = (BUNDLE, BITSTREAM, HARDWARE, WEIGHTS, CODE, MANIFEST)
"""In the order of the layers."""


@dataclass(frozen=True, slots=True)
class FpgaContents:
    """What fpga/ gives for an image. ``hardware`` is the .hwh; ``manifest`` is a JSON object whose
    ``provenance`` is one of PROVENANCES."""

    bitstream: bytes | Path
    hardware: bytes | Path
    weights: bytes | Path
    script: bytes | Path | None
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FpgaArtifact:
    """A stored artifact: the digest and size of its manifest, and all its blobs with that: size by
    digest."""

    manifest: str
    size_bytes: int
    blobs: Mapping[str, int]

    @property
    def descriptor(self) -> dict[str, Any]:
        """Of the manifest."""
        return {
            "mediaType": media_types.MANIFEST,
            "artifactType": ARTIFACT,
            "digest": self.manifest,
            "size": self.size_bytes,
        }


def write_artifact(
    store: BlobStore,
    name: str,
    version: int,
    contents: FpgaContents,
    models: Sequence[Model],
    on_bytes: OnBytes,
    *,
    revision: str | None = None,
) -> FpgaArtifact:
    """Store the artifact; ``on_bytes`` is told of the bytes as they are written.

    Raises InvalidSourceError for contents that are missing, too large or not what they should be,
    StoreFullError."""
    provenance = _provenance(contents.manifest)
    files: dict[Part, bytes | Path] = {
        BUNDLE: _bundle_json(name, version, models, has_script=contents.script is not None),
        BITSTREAM: contents.bitstream,
        HARDWARE: _checked_xml(_all(HARDWARE, contents.hardware)),
        WEIGHTS: contents.weights,
        MANIFEST: _manifest_json(contents.manifest),
    }
    if contents.script is not None:
        files[CODE] = _checked_python(_all(CODE, contents.script))
    layers = [_put(store, part, files[part], on_bytes) for part in PARTS if part in files]
    config, config_size = store.put([b"{}"])
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.MANIFEST,
        "artifactType": ARTIFACT,
        "config": {"mediaType": media_types.EMPTY, "digest": config, "size": config_size},
        "layers": layers,
        "annotations": image_annotations(
            name,
            version,
            [(model.reference, model.digest) for model in models],
            revision,
            {PROVENANCE: provenance},
        ),
    }
    manifest, size = store.put([encoded(document)])
    blobs = {str(layer["digest"]): int(layer["size"]) for layer in layers}
    return FpgaArtifact(manifest, size, {**blobs, config: config_size, manifest: size})


def unpack_artifact(store: BlobStore, digest: str, folder: Path) -> Path:
    """Write the artifact as the new bundle folder ``folder``, every byte verified, whoever it came
    from.

    Raises ImageFailedError for what is no such artifact, DamagedBlobError, TargetExistsError."""
    document = _document(store.read(digest))
    found = _layers(document)
    _check_bundle(b"".join(_verified(store, found[BUNDLE])), has_script=CODE in found)
    _check_provenance(document, b"".join(_verified(store, found[MANIFEST])))
    with new_folder(folder) as target:
        for part, layer in found.items():
            write_file(target / part.path, _verified(store, layer))
    return folder


def is_artifact(document: Mapping[str, Any]) -> bool:
    """Whether an image's manifest is that of an FPGA artifact."""
    return document.get("artifactType") == ARTIFACT


class _Layer(msgspec.Struct, frozen=True):
    """A layer as the OCI manifest has it."""

    media_type: str = msgspec.field(name="mediaType")
    digest: str
    size: int
    annotations: dict[str, str] = {}


class _Document(msgspec.Struct, frozen=True):
    """Of an OCI manifest, what is read of it."""

    layers: list[_Layer]
    artifact_type: str | None = msgspec.field(name="artifactType", default=None)
    annotations: dict[str, str] = {}


def _provenance(manifest: Mapping[str, Any]) -> str:
    found = manifest.get("provenance")
    if found not in PROVENANCES:
        raise InvalidSourceError(
            f"the FPGA manifest's provenance is {ascii(found)[:40]}; it must be one of"
            f" {', '.join(PROVENANCES)}"
        )
    return str(found)


def _manifest_json(manifest: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(manifest, sort_keys=True, indent=2, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidSourceError(f"the FPGA manifest cannot be written as JSON: {error}") from error


def _bundle_json(name: str, version: int, models: Sequence[Model], *, has_script: bool) -> bytes:
    """The models lie in weights.bin, in the bundle's root; none has a file of its own to load."""
    if not models:
        raise InvalidSourceError("an FPGA image needs a model")
    file = BundleFile(
        SCHEMA_VERSION,
        name,
        version,
        ENGINE,
        SCRIPT if has_script else None,
        [ModelEntry(m.name, m.version, ".", None, m.digest, m.signature) for m in models],
        None,
    )
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def _put(store: BlobStore, part: Part, source: bytes | Path, on_bytes: OnBytes) -> dict[str, Any]:
    """Store one file; the descriptor of its layer."""
    with store.writer() as (write, finish):
        for chunk in _chunks(part, source):
            write(chunk)
            on_bytes(len(chunk))
        digest, size = finish()
    return {
        "mediaType": part.media_type,
        "digest": digest,
        "size": size,
        "annotations": {TITLE: part.path},
    }


def _chunks(part: Part, source: bytes | Path) -> Iterator[bytes]:
    """The bytes of a file: at least one, and not more than it may have, however many it claims."""
    size = 0
    for chunk in [source] if isinstance(source, bytes) else _file_chunks(part, source):
        size += len(chunk)
        if size > part.max_bytes:
            raise InvalidSourceError(
                f"the FPGA image's {part.what}: larger than {part.max_bytes // MIB} MiB"
            )
        yield chunk
    if not size:
        raise InvalidSourceError(f"the FPGA image has no {part.what}: the file is empty")


def _file_chunks(part: Part, path: Path) -> Iterator[bytes]:
    """Of a plain file only: a link may lead anywhere, and a pipe has no end."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise InvalidSourceError(f"the {part.what} '{path.name}' is no plain file")
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidSourceError(f"cannot read the {part.what} '{path.name}': {reason}") from error


def _all(part: Part, source: bytes | Path) -> bytes:
    return b"".join(_chunks(part, source))


def _checked_xml(data: bytes) -> bytes:
    """A .hwh is XML that a board parses, with a parser that resolves entities."""
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise InvalidSourceError("the hardware description is no XML; give the .hwh of the design")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data or b"\0" in data:
        raise InvalidSourceError("the hardware description declares entities; no .hwh does")
    return data


def _checked_python(data: bytes) -> bytes:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise InvalidSourceError("the script is no UTF-8 text") from error
    return data


def _refused(why: str) -> ImageFailedError:
    return ImageFailedError(f"the image is no FPGA artifact that can be unpacked: {why}")


def _document(data: bytes) -> _Document:
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refused("its manifest cannot be read") from error
    if document.artifact_type != ARTIFACT:
        raise _refused("it is of another kind")
    return document


def _layers(document: _Document) -> dict[Part, _Layer]:
    """The layer of each part. A title is compared, and never used as a path."""
    by_type = {part.media_type: part for part in PARTS}
    found: dict[Part, _Layer] = {}
    for layer in document.layers:
        part = by_type.get(layer.media_type)
        if part is None or part in found or layer.annotations.get(TITLE) != part.path:
            raise _refused("it has a file that does not belong there")
        if not 0 < layer.size <= part.max_bytes:
            raise _refused(f"its {part.what} has a size that is not allowed")
        if not _DIGEST.fullmatch(layer.digest):
            raise _refused("it has a digest that is none")
        found[part] = layer
    for part in PARTS:
        if part.is_required and part not in found:
            raise _refused(f"it has no {part.what}")
    return found


def _check_bundle(data: bytes, *, has_script: bool) -> None:
    """The server imports what ``engine`` says, so that it must be ours."""
    try:
        file = msgspec.json.decode(data, type=BundleFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refused("its bundle.json cannot be read") from error
    script = SCRIPT if has_script else None
    is_ours = file.engine == ENGINE and file.entry_script == script
    if not is_ours or any(model.path != "." for model in file.models):
        raise _refused("its bundle.json names an engine, a script or a path that is not allowed")


def _check_provenance(document: _Document, manifest: bytes) -> None:
    try:
        said = json.loads(manifest)["provenance"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _refused("its manifest.json does not say where the bitstream comes from") from error
    if said not in PROVENANCES or document.annotations.get(PROVENANCE) != said:
        raise _refused("where its bitstream comes from is not known, or said in two ways")


def _verified(store: BlobStore, layer: _Layer) -> Iterator[bytes]:
    size = 0
    for chunk in store.chunks(layer.digest):
        size += len(chunk)
        if size > layer.size:
            break
        yield chunk
    if size != layer.size:
        raise DamagedBlobError(layer.digest, "has another size than its image says")
