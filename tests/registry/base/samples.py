"""Small images made by hand: programs that are only a header, tars, and OCI layouts."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from registry import media_types

LOADER = "/lib64/ld-linux-x86-64.so.2"
ARM_LOADER = "/lib/ld-linux-aarch64.so.1"
AMD64, ARM64 = 62, 183
Digested = tuple[str, int]


def elf(machine: int = AMD64, loader: str = LOADER) -> bytes:
    """A 64-bit program's headers, and its loader's name."""
    name = loader.encode() + b"\0"
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(name), len(name), 1) + name


def libc(version: str = "2.36", machine: int = AMD64) -> bytes:
    """A C library's headers, and what it says of itself, far behind them."""
    text = f"GNU C Library (Debian GLIBC {version}-9) stable release version {version}.\n"
    return elf(machine, "") + bytes(70_000) + text.encode() + bytes(100)


def entry(path: str, data: bytes = b"", *, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    """A file."""
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(data), mode
    return info, data


def link(path: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """A link, or with ``kind`` any member without bytes."""
    info = tarfile.TarInfo(path)
    info.type, info.linkname = kind, target
    return info, b""


def folder(path: str) -> tuple[tarfile.TarInfo, bytes]:
    """A folder."""
    return link(path, "", tarfile.DIRTYPE)


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def debian(machine: int = AMD64, minor: int = 11) -> tuple[tuple[tarfile.TarInfo, bytes], ...]:
    """The members of a root file system like Debian's."""
    arch, loader = {
        AMD64: ("x86_64", LOADER),
        ARM64: ("aarch64", ARM_LOADER),
    }[machine]
    libraries = f"usr/lib/{arch}-linux-gnu"
    return (
        link("./bin", "usr/bin"),
        link("./lib", "usr/lib"),
        link("./lib64", "usr/lib64"),
        link("./usr/bin/python3", f"python3.{minor}"),
        entry(f"./usr/bin/python3.{minor}", elf(machine, loader)),
        link(f"./usr/{loader.removeprefix('/')}", f"/lib/{arch}-linux-gnu/{Path(loader).name}"),
        entry(f"./{libraries}/{Path(loader).name}", elf(machine, "")),
        entry(f"./{libraries}/libc.so.6", libc(machine=machine)),
    )


def digest(data: bytes) -> str:
    """As OCI writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class LayoutMaker:
    """Writes an OCI layout blob by blob."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifests: list[dict[str, Any]] = []
        (root / "blobs/sha256").mkdir(parents=True)
        (root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.write_index()

    def blob(self, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        """Its descriptor."""
        self.path(digest(data)).write_bytes(data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}

    def path(self, of: str) -> Path:
        """Where a blob lies."""
        return self.root / "blobs/sha256" / of.removeprefix("sha256:")

    def image(
        self,
        tars: Sequence[bytes],
        *,
        architecture: str = "amd64",
        settings: Mapping[str, Any] | None = None,
        layer_type: str = media_types.LAYER_GZIP,
        config_type: str = media_types.CONFIG,
        manifest_type: str = media_types.MANIFEST,
        diff_ids: Sequence[str] | None = None,
        tag: str | None = None,
        platform: str | None = None,
    ) -> dict[str, Any]:
        """An image of these layers, listed in the index; its descriptor."""
        is_gzip = layer_type.endswith("gzip")
        blobs = [gzip.compress(data, 1, mtime=0) if is_gzip else data for data in tars]
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": diff_ids or [digest(data) for data in tars]},
        }
        manifest = {
            "schemaVersion": 2,
            "config": self.blob(json.dumps(config).encode(), config_type),
            "layers": [self.blob(blob, layer_type) for blob in blobs],
        }
        more: dict[str, Any] = {}
        if tag is not None:
            more["annotations"] = {"org.opencontainers.image.ref.name": tag}
        if platform is not None:
            system, _, name = platform.partition("/")
            more["platform"] = {"os": system, "architecture": name}
        described = self.blob(json.dumps(manifest).encode(), manifest_type, **more)
        self.manifests.append(described)
        self.write_index()
        return described

    def write_index(self) -> None:
        """The index, of what was listed."""
        index = {"schemaVersion": 2, "manifests": self.manifests}
        (self.root / "index.json").write_text(json.dumps(index))
