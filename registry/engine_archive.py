"""Tar archives for the container engine, written as streams: the context of a build, and what
``docker load`` takes.

``docker load`` reads the file of a layer only if it has no such layer yet on what lies below, so
the layers that an image shares with one that the engine has are left out: after a change of a model
of 100 MB on 270 MB of base and packages, that model is all that is sent.
"""

from __future__ import annotations

import json
import os
import secrets
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from registry.blobs import Readable
from registry.errors import EngineError

_END = bytes(1024)


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """A layer to load: digest of the plain tar, and its stored bytes, plain or gzip:
    ``EngineLayer(layer.diff_id, layer.size_bytes, partial(store.chunks, layer.digest))``."""

    diff_id: str
    size_bytes: int
    chunks: Callable[[], Iterator[bytes]]


class LoadingEngine(Protocol):
    """What of a container engine is needed to load an image."""

    def layer_chains(self) -> Iterator[tuple[str, ...]]: ...
    def load(self, chunks: Iterable[bytes]) -> None: ...
    def image_id(self, name: str) -> str | None: ...


def load_image(
    engine: LoadingEngine,
    config: bytes,
    config_digest: str,
    layers: Sequence[EngineLayer],
    tag: str,
) -> int:
    """Make the engine have the image under ``tag``; returns how many layers were sent. Layers that
    the engine has are left out; when it refuses that, all are sent. Raises EngineError."""
    shared = shared_layers([layer.diff_id for layer in layers], engine.layer_chains())
    if shared:
        try:
            engine.load(load_tar(config, config_digest, layers, tag, shared))
        except EngineError:
            shared = 0
        if shared and engine.image_id(tag) == config_digest:
            return len(layers) - shared
    engine.load(load_tar(config, config_digest, layers, tag, 0))
    if engine.image_id(tag) is None:
        raise EngineError(f"the container engine took {tag} and does not have it")
    return len(layers)


def shared_layers(wanted: Sequence[str], chains: Iterable[Sequence[str]]) -> int:
    """How many of the lowest layers some image of the engine has, in this order."""
    most = 0
    for chain in chains:
        pairs = zip(wanted, chain, strict=False)
        most = max(
            most,
            next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(wanted), len(chain))),
        )
        if most == len(wanted):
            break
    return most


def load_tar(
    config: bytes, config_digest: str, layers: Sequence[EngineLayer], tag: str, left_out: int
) -> Iterator[bytes]:
    """What ``docker load`` reads, without the files of the lowest ``left_out`` layers."""
    config_name = f"{config_digest.removeprefix('sha256:')}.json"
    names = [f"{layer.diff_id.removeprefix('sha256:')}.tar" for layer in layers]
    listed = [{"Config": config_name, "RepoTags": [tag], "Layers": names}]
    yield from _file("manifest.json", json.dumps(listed).encode())
    yield from _file(config_name, config)
    sent = set(names[:left_out])
    for name, layer in zip(names, layers, strict=True):
        if name not in sent:
            sent.add(name)
            yield _header(name, layer.size_bytes)
            yield from layer.chunks()
            yield _padding(layer.size_bytes)
    yield _END


def dockerfile_context(text: str, context: Iterable[bytes]) -> tuple[str, Iterator[bytes]]:
    """The context with the Dockerfile put before it, under a name that nothing in it has."""
    name = f".dockerfile-{secrets.token_hex(8)}"

    def chunks() -> Iterator[bytes]:
        yield from _file(name, text.encode())
        yield from context

    return name, chunks()


def folder_tar(folder: Path) -> Iterator[bytes]:
    """The files of a folder: sorted, of root, without times. Links stay links; anything but
    files, folders and links is left out, as it cannot be in a build."""
    for path in _walk(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
            yield _encoded(info)
        elif path.is_dir():
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            yield _encoded(info)
        elif path.is_file():
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                yield _header(name, status.st_size, is_executable=bool(status.st_mode & 0o100))
                yield from _exactly(file, status.st_size, name)
            yield _padding(status.st_size)
    yield _END


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)


def _exactly(file: Readable, size: int, name: str) -> Iterator[bytes]:
    left = size
    while left:
        chunk = file.read(min(left, 1024 * 1024))
        if not chunk:
            raise EngineError(f"{name} became shorter while it was read")
        left -= len(chunk)
        yield chunk


def _file(name: str, data: bytes) -> Iterator[bytes]:
    yield _header(name, len(data))
    yield data
    yield _padding(len(data))


def _header(name: str, size: int, *, is_executable: bool = False) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o755 if is_executable else 0o644
    return _encoded(info)


def _encoded(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
