"""Secrets at rest: sealed with a key in a file of the workspace, mode 0600.

Several keys may stand in the file, one a line: the first seals, all open (MultiFernet), so that a
key is changed by writing a new first line.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import TrustError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

FILE = "secrets.key"
MAX_SECRET_BYTES = 64 * 1024


class Seal:
    """Seals and opens; makes its key at the first use. ``folder`` is the workspace's keys/."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def close(self, secret: bytes) -> bytes:
        """The sealed form. Raises TrustError."""
        return self._keys(is_made=True).encrypt(secret)

    def open(self, sealed: bytes) -> bytes:
        """The secret. Raises TrustError where the key is not the one that sealed it."""
        from cryptography.fernet import InvalidToken

        try:
            return self._keys(is_made=False).decrypt(sealed)
        except InvalidToken:
            raise TrustError(
                f"a secret was sealed with another key than '{self._path}' has; put that file back,"
                " or set the secret again"
            ) from None

    def _keys(self, *, is_made: bool) -> MultiFernet:
        from cryptography.fernet import Fernet, MultiFernet  # 0.1 s

        try:
            if is_made and not self._path.exists():
                self._make(Fernet.generate_key())
            with self._path.open("rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise TrustError(f"'{self._path}' can be read by others; run chmod 600 on it")
                lines = file.read(64 * 1024).split()
        except OSError as error:
            raise TrustError(f"'{self._path}' cannot be read: {error.strerror}") from None
        try:
            return MultiFernet([Fernet(line) for line in lines])
        except ValueError:
            raise TrustError(f"'{self._path}' holds no key") from None

    def _make(self, key: bytes) -> None:
        """Whole or not at all; of two who make it at once, one wins."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = self._path.with_name(f".{FILE}-{os.getpid()}-{os.urandom(4).hex()}")
        handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(handle, "wb") as file:
                file.write(key + b"\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(made, self._path)
        finally:
            made.unlink(missing_ok=True)
