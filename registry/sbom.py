"""An image's SBOM: CycloneDX 1.6 JSON of its Python packages, models, server and base. Pure, but
for ``package_info``; the same facts give the same bytes, on any day.

https://cyclonedx.org/docs/1.6/json: a document has no time, and its serial number is made from its
content.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from email.policy import compat32
from pathlib import Path
from typing import Any
from urllib.parse import quote

from registry.errors import InvalidSourceError
from registry.records import StoredFile
from registry.tree import shown

MEDIA_TYPE = "application/vnd.cyclonedx+json"
MAX_METADATA_BYTES = 16 * 1024 * 1024
MAX_MEMBERS = 200_000
MAX_TEXT_CHARS = 500
_NAMESPACE = uuid.UUID("6c4a0e3a-6a0f-5f0e-9c38-2d0a9d5c1b7e")
_SEPARATORS = re.compile(r"[-_.]+")
_EXPRESSION = re.compile(r"[A-Za-z0-9.+:()\- ]+")
_CLASSIFIER = "License :: "
_ENCRYPTED = 0x41
_DAMAGES = (
    *(OSError, EOFError, ValueError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
"""What zipfile raises for bytes that are no good wheel."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PackageInfo:
    """A Python distribution. ``license_expression`` is SPDX; ``license_names`` are what older
    packages say instead, in any words."""

    name: str
    version: str
    file: str
    sha256: str
    summary: str | None = None
    author: str | None = None
    license_expression: str | None = None
    license_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model in the image; ``digest`` is its manifest's, ``sha256:<hex>``."""

    name: str
    version: int
    digest: str
    description: str = ""
    files: tuple[StoredFile, ...] = ()


@dataclass(frozen=True, slots=True)
class BaseInfo:
    """What the image builds on; ``reference`` as people know it, without a password."""

    reference: str
    digest: str


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The scoring server in the image."""

    version: str
    name: str = "inferry-scoring"


def make_sbom(
    *,
    name: str,
    version: int,
    platform: str,
    builder_version: str,
    packages: Iterable[PackageInfo] = (),
    models: Iterable[ModelInfo] = (),
    base: BaseInfo | None = None,
    server: ServerInfo | None = None,
) -> bytes:
    """The SBOM of image ``name:version``. The order of packages and models does not matter."""
    image = f"image:{name}:{version}"
    components = [
        *([] if base is None else [_base(base)]),
        *([] if server is None else [_server(server)]),
        *map(_package, sorted(set(packages), key=lambda package: (package.name, package.file))),
        *map(_model, sorted(set(models), key=lambda model: (model.name, model.version))),
    ]
    document: Json = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {
                "components": [
                    {"type": "application", "name": "inferry", "version": builder_version}
                ]
            },
            "component": {
                "type": "container",
                "bom-ref": image,
                "name": name,
                "version": str(version),
                "properties": [_property("platform", platform)],
            },
        },
        "components": components,
        "dependencies": [
            {"ref": image, "dependsOn": sorted(part["bom-ref"] for part in components)}
        ],
    }
    serial = uuid.uuid5(_NAMESPACE, hashlib.sha256(_encoded(document)).hexdigest())
    return _encoded({**document, "serialNumber": f"urn:uuid:{serial}"})


def package_info(wheel: Path, *, sha256: str | None = None) -> PackageInfo:
    """What the wheel's METADATA says. ``sha256`` (hex) is the wheel's, where it is known already;
    else its bytes are read. Raises InvalidSourceError."""
    try:
        metadata = _metadata(wheel)
        found = sha256 or _file_sha256(wheel)
    except _DAMAGES as error:
        raise _unreadable(wheel.name, "it is damaged or cannot be opened") from error
    return read_metadata(metadata, file=wheel.name, sha256=found)


def read_metadata(metadata: bytes, *, file: str, sha256: str) -> PackageInfo:
    """What the METADATA of the wheel ``file`` says. Raises InvalidSourceError when it has no name
    or version."""
    headers = HeaderParser(policy=compat32).parsestr(_head(metadata))
    said = {key.lower(): _line(value) for key, value in reversed(headers.items())}
    if not said.get("name") or not said.get("version"):
        raise _unreadable(file, "its METADATA has no name or version")
    expression = said.get("license-expression")
    if expression is not None and not _EXPRESSION.fullmatch(expression):
        expression = None
    classifiers = [_line(value) for value in headers.get_all("classifier", [])]
    return PackageInfo(
        name=said["name"],
        version=said["version"],
        file=file,
        sha256=sha256,
        summary=said.get("summary") or None,
        author=said.get("author") or _person(said.get("author-email", "")) or None,
        license_expression=expression,
        license_names=() if expression else _license_names(said.get("license", ""), classifiers),
    )


def purl(name: str, version: str) -> str:
    """The package URL of a Python distribution."""
    return f"pkg:pypi/{_SEPARATORS.sub('-', name).lower()}@{quote(version, safe='')}"


def _package(package: PackageInfo) -> Json:
    found: Json = {
        "type": "library",
        "bom-ref": f"{purl(package.name, package.version)}#{package.file}",
        "name": package.name,
        "version": package.version,
        "purl": purl(package.name, package.version),
        "hashes": [_hash(package.sha256)],
        "properties": [_property("file", package.file)],
    }
    if package.summary:
        found["description"] = package.summary
    if package.author:
        found["authors"] = [{"name": package.author}]
    if package.license_expression:
        found["licenses"] = [{"expression": package.license_expression}]
    elif package.license_names:
        found["licenses"] = [{"license": {"name": name}} for name in package.license_names]
    return found


def _model(model: ModelInfo) -> Json:
    reference = f"model:{model.name}:{model.version}"
    found: Json = {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": model.name,
        "version": str(model.version),
        "properties": [_property("digest", model.digest)],
    }
    if model.description:
        found["description"] = model.description
    if model.files:
        found["components"] = [
            {
                "type": "file",
                "bom-ref": f"{reference}#{file.path}",
                "name": file.path,
                "hashes": [_hash(file.digest.removeprefix("sha256:"))],
                "properties": [_property("size", str(file.size_bytes))],
            }
            for file in sorted(model.files, key=lambda file: file.path)
        ]
    return found


def _base(base: BaseInfo) -> Json:
    return {
        "type": "container",
        "bom-ref": f"base:{base.digest}",
        "name": base.reference,
        "version": base.digest,
        "hashes": [_hash(base.digest.removeprefix("sha256:"))],
    }


def _server(server: ServerInfo) -> Json:
    return {
        "type": "application",
        "bom-ref": f"server:{server.name}",
        "name": server.name,
        "version": server.version,
    }


def _hash(sha256: str) -> Json:
    return {"alg": "SHA-256", "content": sha256}


def _property(name: str, value: str) -> Json:
    return {"name": f"dev.inferry.{name}", "value": value}


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        infos = archive.infolist()
        found = [info for info in infos if _is_metadata(info.filename)]
        if len(infos) > MAX_MEMBERS or len(found) != 1:
            raise _unreadable(wheel.name, "it has not just one METADATA")
        is_plain = found[0].compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if not is_plain or found[0].flag_bits & _ENCRYPTED:
            raise _unreadable(wheel.name, "its METADATA is encrypted or compressed unusually")
        with archive.open(found[0]) as file:
            metadata = file.read(MAX_METADATA_BYTES + 1)
    if len(metadata) > MAX_METADATA_BYTES:
        raise _unreadable(wheel.name, f"its METADATA is larger than {MAX_METADATA_BYTES} bytes")
    return metadata


def _is_metadata(path: str) -> bool:
    folder, slash, name = path.partition("/")
    return bool(slash) and folder.lower().endswith(".dist-info") and name == "METADATA"


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _head(metadata: bytes) -> str:
    """The headers alone: the description below them is long and says nothing here."""
    text = metadata.decode("utf-8", "replace").replace("\r\n", "\n")
    return text.partition("\n\n")[0]


def _line(value: object) -> str:
    """The first line of a header, whitespace and control characters as single spaces."""
    first = str(value).strip().split("\n", 1)[0]
    words = "".join(char if char.isprintable() else " " for char in first).split()
    return " ".join(words)[:MAX_TEXT_CHARS]


def _person(address: str) -> str:
    """The name in ``Name <mail>``, or all of it."""
    return address.partition("<")[0].strip().strip('"') or address


def _license_names(license_text: str, classifiers: Sequence[str]) -> tuple[str, ...]:
    """Classifiers where there are any: the license's own text may be anything."""
    return tuple(dict.fromkeys(_classified(classifiers))) or (
        (license_text,) if license_text else ()
    )


def _classified(classifiers: Sequence[str]) -> Iterator[str]:
    for classifier in classifiers:
        if classifier.startswith(_CLASSIFIER):
            name = classifier.rsplit(" :: ", 1)[-1]
            if name != "OSI Approved":
                yield name


def _unreadable(file: str, reason: str) -> InvalidSourceError:
    return InvalidSourceError(f"cannot read the wheel '{shown(file)}': {reason}")
