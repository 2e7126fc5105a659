"""What ``--base`` can name. Pure, but for looking whether a path is there.

    python:3.11-slim              from a registry: docker.io/library/python:3.11-slim
    ghcr.io/team/base@sha256:...  from a registry, exactly this one
    docker:team/base:2            an image that the Docker Engine has
    oci:DIR, oci:DIR:TAG          an OCI image layout
    oci:FILE.tar, oci:FILE.tar:TAG  the tar of one
    ./base.tar.gz                 the tar of a root file system

A path starts with ``/``, ``./`` or ``../``, ends like an archive, or is that of a file or a layout:
a folder that happens to be called ``python`` hides no image.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from registry.errors import BaseImageError

ARCHIVE_ENDINGS = (".tar", ".tgz", ".txz", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst")
DEFAULT_REGISTRY = "docker.io"
MAX_REFERENCE_CHARS = 4096
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-{1,10})[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?"
)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class RootArchive:
    """The tar of a root file system."""

    path: Path


@dataclass(frozen=True, slots=True)
class Layout:
    """An image of an OCI image layout; no tag: the only one, or the one of the platform."""

    folder: Path
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class LayoutArchive:
    """The same of the tar of a layout."""

    path: Path
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class EngineImage:
    """An image that the Docker Engine has."""

    name: str


@dataclass(frozen=True, slots=True)
class RegistryImage:
    """An image of a registry: host, repository, and tag or digest."""

    host: str
    repository: str
    tag: str
    digest: str | None = None

    def __str__(self) -> str:
        end = f":{self.tag}" if self.digest is None else f"@{self.digest}"
        return f"{self.host}/{self.repository}{end}"


BaseReference: TypeAlias = RootArchive | Layout | LayoutArchive | EngineImage | RegistryImage


def parse_base(text: str) -> BaseReference:
    """What ``text`` names. Raises BaseImageError."""
    if not text or len(text) > MAX_REFERENCE_CHARS or not text.isprintable():
        raise BaseImageError("the base needs a name, such as python:3.11-slim, without line breaks")
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "oci":
        return _layout(rest)
    if colon and scheme == "docker" and not rest.startswith("//"):
        return EngineImage(_engine_name(rest))
    path = Path(text)
    looks_like_path = text.startswith(("/", "./", "../")) or text in (".", "..")
    if _is_layout(path):
        return Layout(path)
    if os.path.isfile(path):
        return RootArchive(path)
    if looks_like_path or text.lower().endswith(ARCHIVE_ENDINGS):
        raise BaseImageError(f"base {shown(text)}: {_missing(path)}")
    return parse_registry_image(text.removeprefix("docker://"))


def parse_registry_image(text: str) -> RegistryImage:
    """``python:3.11-slim`` is docker.io/library/python:3.11-slim. Raises BaseImageError."""
    name, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        # What stands before the @ may be a password, which no record must have.
        raise BaseImageError(f"base ...@{shown(digest)[1:-1]}: the digest after @ is no sha256")
    first, slash, rest = name.partition("/")
    is_host = bool(slash) and (first == "localhost" or any(char in first for char in ".:["))
    host, path = (first, rest) if is_host else (DEFAULT_REGISTRY, name)
    repository, colon, tag = path.partition(":")
    if not is_host and "/" not in repository:
        repository = f"library/{repository}"
    if not _HOST.fullmatch(host) or not _NAME.fullmatch(repository) or len(repository) > 255:
        raise BaseImageError(
            f"base {shown(text)} is no name of an image; there is no such file either"
        )
    if colon and not _TAG.fullmatch(tag):
        raise BaseImageError(f"base {shown(text)}: the tag {shown(tag)} is not allowed")
    return RegistryImage(host, repository, tag or "latest", digest if at else None)


def cache_key(text: str) -> str:
    """Where a base that was read before is remembered. That of a file or a layout changes with
    it; what a tag names may change unseen (``--pull``). Raises BaseImageError."""
    match parse_base(text):
        case RootArchive(path):
            return f"{path.resolve()} {_stamp(path)}"
        case Layout(folder, tag):
            stamp = _stamp(folder / "index.json")
            return f"oci:{folder.resolve()}:{'' if tag is None else tag} {stamp}"
        case LayoutArchive(path, tag):
            return f"oci:{path.resolve()}:{'' if tag is None else tag} {_stamp(path)}"
        case EngineImage(name):
            return f"docker:{name}"
        case RegistryImage() as image:
            return str(image)


def shown(text: str) -> str:
    """For a message: short, and without what a terminal would take as a command."""
    quoted = ascii(text)
    return quoted if len(quoted) <= 160 else f"{quoted[:157]}...'"


def _layout(text: str) -> Layout | LayoutArchive:
    """The longest path that is there: it may have a colon in it."""
    folder, colon, tag = text.rpartition(":")
    if os.path.isdir(text) or os.path.isfile(text) or not colon:
        folder, tag = text, ""
    if os.path.isfile(folder):
        return LayoutArchive(Path(folder), tag or None)
    if not _is_layout(Path(folder)):
        raise BaseImageError(f"base {shown(f'oci:{text}')}: {shown(folder)} is no OCI image layout")
    return Layout(Path(folder), tag or None)


def _engine_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,1023}", text):
        raise BaseImageError(f"base {shown(f'docker:{text}')} names no image of the Docker Engine")
    return text


def _is_layout(path: Path) -> bool:
    # os.path's: False, too, for what is too long to be a path.
    return os.path.isfile(path / "oci-layout") and os.path.isfile(path / "index.json")


def _missing(path: Path) -> str:
    if os.path.isdir(path):
        return "this folder is no OCI image layout (it has no oci-layout and index.json)"
    return "it is no file" if os.path.lexists(path) else "there is no such file"


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        raise BaseImageError(f"base {shown(str(path))}: {error.strerror}") from error
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"
