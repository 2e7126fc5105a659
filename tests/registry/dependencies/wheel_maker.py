"""Small wheels, right ones and wrong ones."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from registry.dependencies import LockedWheel
from registry.platforms import Platform, Target

AMD64 = Target(Platform("amd64"), (3, 11), (2, 36))
ARM64 = Target(Platform("arm64"), (3, 11), (2, 36))

Tamper = Callable[[dict[str, bytes]], None]


def make_wheel(
    folder: Path,
    name: str = "demo",
    version: str = "1.0",
    files: Mapping[str, bytes] | None = None,
    *,
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
    metadata_name: str | None = None,
    dist_info: str | None = None,
    tamper: Tamper = lambda members: None,
    extra: Sequence[tuple[zipfile.ZipInfo, bytes]] = (),
    executable: str = "",
    is_reversed: bool = False,
) -> Path:
    """A wheel with ``files`` and a right RECORD; ``tamper`` changes the members afterwards, and
    ``extra`` members are added as they are."""
    info = dist_info or f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {text}\n" for text in requires)
    members = dict({f"{name}/__init__.py": b"VALUE = 1\n"} if files is None else files)
    members[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {metadata_name or name}\nVersion: {version}\n{needs}\n"
    ).encode()
    members[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nTag: {tag}\n".encode()
    rows = [f"{path},{record_hash(data)},{len(data)}\n" for path, data in members.items()]
    members[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    tamper(members)
    path = folder / f"{name}-{version}-{tag}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in sorted(members, reverse=is_reversed):
            entry = zipfile.ZipInfo(member)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if member == executable else 0o100644) << 16
            archive.writestr(entry, members[member])
        for entry, data in extra:
            archive.writestr(entry, data)
    return path


def record_hash(data: bytes) -> str:
    """As RECORD has it."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return f"sha256={digest}"


def locked(path: Path, url: str | None = None, size: int | None = None) -> LockedWheel:
    """The lock's line for a wheel of ours."""
    name, version = path.name.split("-")[:2]
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return LockedWheel(name, version, path.name, digest, size, url or path.as_uri())
