"""Several files written as one step: into a folder, or a tar for carrying them to a device."""

from __future__ import annotations

import contextlib
import io
import os
import pwd
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.errors import EnrolmentError

SECRET, PLAIN = 0o600, 0o644


@dataclass(frozen=True, slots=True)
class File:
    """``mode``: SECRET or PLAIN. ``owner``: a user to whom it is given, where root writes it and
    that user is there."""

    data: bytes
    mode: int = PLAIN
    owner: str | None = None


def write_files(target: Path, files: Mapping[str, File]) -> None:
    """Each file whole or not at all; paths are relative. A ``target`` that ends in .tar becomes
    an archive, as secret as its most secret file. Raises EnrolmentError."""
    try:
        if target.suffix == ".tar":
            write_whole(target, _archive(files), min(file.mode for file in files.values()))
            return
        for path, file in files.items():
            write_whole(target / path, file.data, file.mode, owner=file.owner)
    except OSError as error:
        raise EnrolmentError(f"'{target}' cannot be written: {error.strerror or error}") from error


def write_whole(path: Path, data: bytes, mode: int, *, owner: str | None = None) -> None:
    """Old or new at any moment, on the disk once it returns. Raises OSError."""
    secret = mode == SECRET
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if secret else 0o755)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            if owner is not None and os.geteuid() == 0:
                _give(file.fileno(), owner)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _give(handle: int, owner: str) -> None:
    with contextlib.suppress(KeyError):
        found = pwd.getpwnam(owner)
        os.fchown(handle, found.pw_uid, found.pw_gid)


def _archive(files: Mapping[str, File]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for path, file in sorted(files.items()):
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(file.data), file.mode
            archive.addfile(info, io.BytesIO(file.data))
    return made.getvalue()
