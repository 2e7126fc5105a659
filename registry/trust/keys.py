"""The workspace's own key: two files, made once.

keys/
  signing.pem   the private key: PKCS8, mode 0600
  signing.pub   its public half, for whoever checks signatures
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from registry.errors import TrustError
from registry.trust import ed25519
from registry.trust.public_key import PublicKey, parse_public_key, public_key

PRIVATE_FILE = "signing.pem"
PUBLIC_FILE = "signing.pub"
MAX_FILE_BYTES = 16 * 1024


class WorkspaceKey:
    """Signs in the name of a workspace."""

    def __init__(self, private: ed25519.PrivateKey, public: PublicKey) -> None:
        self._private = private
        self.public = public

    @classmethod
    def load_or_create(cls, folder: Path) -> Self:
        """The key in ``folder``, made there if there is none; of several processes that make it at
        once, one wins. Raises TrustError for a key that others can read or that is damaged."""
        with _disk_errors_said(folder):
            if not os.path.lexists(folder / PRIVATE_FILE):
                _create(folder)
            return cls._load(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The key in ``folder``. Raises TrustError, also when there is none."""
        with _disk_errors_said(folder):
            return cls._load(folder)

    @property
    def key_id(self) -> str:
        """The public key's."""
        return self.public.key_id

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``, 64 bytes."""
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"WorkspaceKey({self.key_id[:12]})"

    @classmethod
    def _load(cls, folder: Path) -> Self:
        path = folder / PRIVATE_FILE
        private, raw = ed25519.read_private(_read(path, is_secret=True), f"the key '{path}'")
        public = public_key(raw)
        _check_public_file(folder, public)
        return cls(private, public)


def _create(folder: Path) -> None:
    """A link is made at once and only when its name is free: nobody sees half a key, and who comes
    second keeps the first one's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _new_file(folder, ed25519.generate(), 0o600) as made, suppress(FileExistsError):
        os.link(made, folder / PRIVATE_FILE)
    _sync(folder)


def _check_public_file(folder: Path, public: PublicKey) -> None:
    """The public file is written when it is not there: its maker may have been stopped."""
    path = folder / PUBLIC_FILE
    if not os.path.lexists(path):
        with _new_file(folder, public.pem, 0o644) as made:
            os.replace(made, path)
        _sync(folder)
    elif parse_public_key(_read(path, is_secret=False)) != public:
        raise TrustError(
            f"'{path}' is not the public half of {PRIVATE_FILE}: one of them was exchanged;"
            f" put back the right one, or delete {PUBLIC_FILE} if {PRIVATE_FILE} is right"
        )


def _read(path: Path, *, is_secret: bool) -> bytes:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(path, flags)
    except FileNotFoundError:
        raise TrustError(f"there is no key '{path}'") from None
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise TrustError(f"the key '{path}' is no plain file")
        if is_secret:
            _check_private(path, status)
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise TrustError(f"the key '{path}' is larger than any key")
    return data


def _check_private(path: Path, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise TrustError(
            f"the key '{path}' can be used by others (mode {mode:04o}); if nobody did, run"
            f" chmod 600 on it, else delete it and sign the images again"
        )
    us = os.geteuid()
    if us != 0 and status.st_uid not in (0, us):
        raise TrustError(f"the key '{path}' belongs to another user (number {status.st_uid})")


@contextmanager
def _new_file(folder: Path, data: bytes, mode: int) -> Iterator[Path]:
    """A file with ``data`` on the disk, which is gone after the block unless it was moved."""
    handle, name = tempfile.mkstemp(prefix=".key-", dir=folder)
    path = Path(name)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _disk_errors_said(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrustError(
            f"cannot read or make the signing key in '{folder}': {error.strerror or error}"
        ) from error
