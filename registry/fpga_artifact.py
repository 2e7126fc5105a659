"""FPGA images: an OCI artifact in the store, and the bundle folder that it unpacks to.

    manifest (artifactType ARTIFACT, empty config), a layer for each file, titled by its path:
      bundle.json          as of any image (registry/bundle_file.py); the engine is ENGINE
      fpga/program.json    the compiled model; ``bitstream`` in it says what design.bit is
      fpga/load.bin        what is sent to the engine once
      fpga/stream.bin      weights that are sent for each sample, if there are some
      fpga/design.bit      the bitstream; PYNQ wants the .hwh beside it, of the same stem
      fpga/design.hwh      the hardware description
      fpga/report.json     the compiler's, if there is one
      golden.json          as in any image (registry/golden.py), if there are some

The folder fpga/ comes from the package fpga, which this module does not know. Equal contents, equal
digests. Where a bitstream comes from and what it is for is said twice, in program.json for the
board and in the OCI manifest for who decides what a board pulls; both must agree.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from registry import golden, media_types
from registry.blobs import CHUNK_BYTES, BlobStore
from registry.bundle_file import SCHEMA_VERSION, BundleFile, ModelEntry
from registry.container_config import encoded, image_annotations
from registry.errors import (
    DamagedBlobError,
    ImageFailedError,
    InvalidSourceError,
    RegistryError,
)
from registry.folders import new_folder, write_file
from registry.records import Model

OnBytes = Callable[[int], None]
ARTIFACT = "application/vnd.inferry.fpga.v1"
ENGINE = "fpga.engine:FpgaEngine"
PROVENANCES = ("vivado", "openxc7", "simulation")
PROVENANCE = "dev.inferry.fpga.provenance"
PART = "dev.inferry.fpga.part"
BOARDS = "dev.inferry.fpga.boards"
"""Annotations: of PROVENANCES; the chip, such as xc7z020clg400-1; boards, comma-separated."""
TITLE = "org.opencontainers.image.title"
FOLDER, ENTRY = "fpga", "program.json"
MIB = 1024 * 1024
MAX_BOARDS = 32
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A part or a board: it is written into a list with commas."""
_Refusal = Callable[[str], RegistryError]


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of file of an artifact."""

    what: str
    path: str
    media_type: str
    max_bytes: int
    is_required: bool = True


BUNDLE = Part("bundle", "bundle.json", "application/vnd.inferry.bundle.file.v1+json", MIB)
PROGRAM = Part(
    "program", f"{FOLDER}/{ENTRY}", "application/vnd.inferry.fpga.program.v1+json", 16 * MIB
)
LOAD = Part("load packet", f"{FOLDER}/load.bin", "application/vnd.inferry.fpga.load.v1", 1024 * MIB)
STREAM = Part(
    "streamed weights",
    f"{FOLDER}/stream.bin",
    "application/vnd.inferry.fpga.stream.v1",
    1024 * MIB,
    is_required=False,
)
BITSTREAM = Part(
    "bitstream", f"{FOLDER}/design.bit", "application/vnd.inferry.fpga.bitstream.v1", 256 * MIB
)
HARDWARE = Part(
    "hardware description",
    f"{FOLDER}/design.hwh",
    "application/vnd.inferry.fpga.hardware.v1+xml",
    16 * MIB,
)
REPORT = Part(
    "report",
    f"{FOLDER}/report.json",
    "application/vnd.inferry.fpga.report.v1+json",
    16 * MIB,
    is_required=False,
)
GOLDEN = Part(
    "golden inputs",
    golden.FILE,
    "application/vnd.inferry.golden.v1+json",
    golden.MAX_BYTES,
    is_required=False,
)
PARTS = (BUNDLE, PROGRAM, LOAD, STREAM, BITSTREAM, HARDWARE, REPORT, GOLDEN)
"""In the order of the layers."""


@dataclass(frozen=True, slots=True)
class FpgaContents:
    """What an image is made of. ``folder``: a compiled ``fpga/`` folder, of which just the files
    above are taken. ``golden``: the text of golden.json, or a file that has it. ``proof``: where it
    was seen to answer."""

    folder: Path
    golden: bytes | Path | None = None
    proof: str = "none: it runs on a board only"


class Bitstream(msgspec.Struct, frozen=True):
    """What program.json says of design.bit. ``sha256``: hexadecimal, of its bytes."""

    provenance: str
    part: str
    sha256: str
    boards: list[str]

    @property
    def annotations(self) -> dict[str, str]:
        """The same in the OCI manifest."""
        boards = ",".join(self.boards)
        return {PROVENANCE: self.provenance, PART: self.part, BOARDS: boards}


class _Program(msgspec.Struct, frozen=True):
    """Of program.json, what is read here; a board checks the rest (fpga/artifact.py)."""

    bitstream: Bitstream


@dataclass(frozen=True, slots=True)
class FpgaArtifact:
    """A stored artifact: the digest and size of its manifest, and all its blobs with that: size by
    digest."""

    manifest: str
    size_bytes: int
    blobs: Mapping[str, int]
    bitstream: Bitstream

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
    on_total: OnBytes = lambda count: None,
) -> FpgaArtifact:
    """Store the artifact; ``on_bytes`` is told of the bytes as they are written, and ``on_total``
    before of how many there are.

    Raises InvalidSourceError for contents that are missing, too large or not what they should be,
    StoreFullError."""
    files = _files(name, version, contents, models)
    bitstream = read_bitstream(_all(PROGRAM, files[PROGRAM]), _invalid)
    on_total(sum(map(_size, files.values())))
    stored = {part: _put(store, part, files[part], on_bytes) for part in PARTS if part in files}
    layers = list(stored.values())
    if stored[BITSTREAM]["digest"] != f"sha256:{bitstream.sha256}":
        raise _invalid("its design.bit is another than program.json names; compile it anew")
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
            bitstream.annotations,
        ),
    }
    manifest, size = store.put([encoded(document)])
    blobs = {str(layer["digest"]): int(layer["size"]) for layer in layers}
    return FpgaArtifact(manifest, size, {**blobs, config: config_size, manifest: size}, bitstream)


def unpack_artifact(store: BlobStore, digest: str, folder: Path) -> Path:
    """Write the artifact as the new bundle folder ``folder``, every byte verified, whoever it came
    from.

    Raises ImageFailedError for what is no such artifact, DamagedBlobError, TargetExistsError."""
    document = _document(store.read(digest))
    found = _layers(document)
    _check_bundle(b"".join(_verified(store, found[BUNDLE])))
    bitstream = read_bitstream(b"".join(_verified(store, found[PROGRAM])), _refused)
    if {**document.annotations, **bitstream.annotations} != document.annotations:
        raise _refused("what its bitstream is, is said in two ways")
    if found[BITSTREAM].digest != f"sha256:{bitstream.sha256}":
        raise _refused("its design.bit is another than program.json names")
    with new_folder(folder) as target:
        for part, layer in found.items():
            write_file(target / part.path, _verified(store, layer))
    return folder


def report_of(manifest: bytes) -> str | None:
    """The digest of the compiler's report, by the artifact's manifest; None: it has none. Raises
    ImageFailedError."""
    found = _layers(_document(manifest)).get(REPORT)
    return None if found is None else found.digest


def read_bitstream(program: bytes, refused: _Refusal) -> Bitstream:
    """What a program.json says of its bitstream. Raises what ``refused`` makes of a reason."""
    try:
        found = msgspec.json.decode(program, type=_Program).bitstream
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise refused(f"its program.json cannot be read: {error}") from error
    if found.provenance not in PROVENANCES:
        raise refused(
            f"its program.json has the provenance {ascii(found.provenance)[:40]}; it must be one of"
            f" {', '.join(PROVENANCES)}"
        )
    words = [found.part, *found.boards]
    if len(words) > MAX_BOARDS or not all(map(_WORD.fullmatch, words)):
        raise refused("its program.json names a part or boards that cannot be")
    return found


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


def _files(
    name: str, version: int, contents: FpgaContents, models: Sequence[Model]
) -> dict[Part, bytes | Path]:
    """What is stored as each part. What is checked is read once: its file may change meanwhile."""
    files: dict[Part, bytes | Path] = {BUNDLE: _bundle_json(name, version, models)}
    for part in (PROGRAM, LOAD, STREAM, BITSTREAM, HARDWARE, REPORT):
        path = contents.folder / Path(part.path).name
        if part.is_required or _has_bytes(path):
            files[part] = path
    files[PROGRAM] = _all(PROGRAM, files[PROGRAM])
    files[HARDWARE] = _checked_xml(_all(HARDWARE, files[HARDWARE]))
    if isinstance(contents.golden, Path):
        files[GOLDEN] = golden.read_golden(contents.golden)
    elif contents.golden is not None:
        files[GOLDEN] = golden.check_golden(contents.golden, golden.FILE)
    return files


def _size(source: bytes | Path) -> int:
    """Of what is not there, none: to read it says so."""
    if isinstance(source, bytes):
        return len(source)
    try:
        return source.lstat().st_size
    except (OSError, ValueError):
        return 0


def _has_bytes(path: Path) -> bool:
    """Whether a file that need not be there is. An empty one says as much as none."""
    try:
        found = path.lstat()
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(found.st_mode) or found.st_size > 0


def _bundle_json(name: str, version: int, models: Sequence[Model]) -> bytes:
    if len(models) != 1:
        raise InvalidSourceError(f"an FPGA image has exactly one model, not {len(models)}")
    (model,) = models
    entry = ModelEntry(model.name, model.version, FOLDER, ENTRY, model.digest, model.signature)
    file = BundleFile(SCHEMA_VERSION, name, version, ENGINE, None, [entry], None)
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


def _invalid(why: str) -> InvalidSourceError:
    return InvalidSourceError(f"the FPGA image cannot be made: {why}")


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


def _check_bundle(data: bytes) -> None:
    """The server imports what ``engine`` says, so that it must be ours."""
    try:
        file = msgspec.json.decode(data, type=BundleFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refused("its bundle.json cannot be read") from error
    is_ours = file.engine == ENGINE and file.entry_script is None
    if not is_ours or [(model.path, model.entry) for model in file.models] != [(FOLDER, ENTRY)]:
        raise _refused("its bundle.json names an engine, a script or a path that is not allowed")


def _verified(store: BlobStore, layer: _Layer) -> Iterator[bytes]:
    size = 0
    for chunk in store.chunks(layer.digest):
        size += len(chunk)
        if size > layer.size:
            break
        yield chunk
    if size != layer.size:
        raise DamagedBlobError(layer.digest, "has another size than its image says")
