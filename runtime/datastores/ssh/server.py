"""A connection to an SFTP server: its files by their paths there, links not followed."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import asyncssh
from sshfs import SSHFileSystem

from runtime.datastores.errors import DatastoreError, LostConnectionError, RefusedError
from runtime.datastores.port import CHUNK_BYTES
from runtime.datastores.remote import call
from runtime.datastores.ssh.host_keys import public_key
from runtime.datastores.ssh.login import Login
from runtime.datastores.ssh.meaning import connecting

T = TypeVar("T")
CONNECT_S = 15.0
KEEPALIVE_S = 15.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is at a path."""

    kind: Literal["file", "folder", "link", "other"]
    size_bytes: int
    modified_s: float | None


class _FileSystem(SSHFileSystem):  # type: ignore[misc]
    """sshfs, with paths taken as they are, links not followed, and renames that are renames."""

    cachable = False  # fsspec would keep it, with its secrets, and hand it out to others

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path

    async def on_channel(self, act: Callable[[asyncssh.SFTPClient], Any]) -> Any:
        async with self._pool.get() as channel:
            return await act(channel)

    async def end(self) -> None:
        await self._pool.close()
        await self._stack.aclose()


class Server:
    """Raises what asyncssh and sshfs raise; see meaning.py."""

    def __init__(self, files: _FileSystem) -> None:
        self._files = files
        self._made: set[str] = set()

    def seen(self, path: str, *, follows: bool = False) -> Seen:
        """Of a link itself, unless it ``follows``."""
        return _seen(self._do(lambda sftp: sftp.stat(path) if follows else sftp.lstat(path)))

    def names(self, path: str) -> list[tuple[str | bytes, Seen]]:
        """All in a folder, as the server says it: the names are not checked."""
        found = self._do(lambda sftp: sftp.readdir(path))
        return [(name.filename, _seen(name.attrs)) for name in found]

    def read(self, path: str, offset: int, size_bytes: int) -> Iterator[bytes]:
        """Up to that size, in chunks of CHUNK_BYTES, each by many requests at once: asking for what
        lies behind the end would be as many again."""
        with self._files.open(path, "rb") as file:
            if offset:
                file.seek(offset)
            while offset < size_bytes:
                chunk = file.read(min(CHUNK_BYTES, size_bytes - offset))
                if not chunk:
                    return
                yield chunk
                offset += len(chunk)

    def fill(self, path: str, chunks: Iterator[bytes], modified_s: float | None) -> int:
        """A new file: on the server's disk at the end, where it can do that. How many bytes the
        server then says that it has."""
        try:
            opened = self._files.open(path, "wb")
        except FileNotFoundError:
            self._made.clear()  # somebody removed the folder meanwhile
            raise
        with opened as file:
            for chunk in chunks:
                file.write(chunk)
            with suppress(asyncssh.SFTPOpUnsupported):
                file.fsync()

        async def finish(sftp: asyncssh.SFTPClient) -> asyncssh.SFTPAttrs:
            if modified_s is not None:
                await sftp.utime(path, (modified_s, modified_s))
            return await sftp.lstat(path)

        return _seen(self._do(finish)).size_bytes

    def publish(self, made: str, path: str, *, replace: bool) -> None:
        """SFTP's own rename refuses what is there; posix-rename replaces it at once."""
        if replace:
            self._do(lambda sftp: sftp.posix_rename(made, path))
        else:
            self._do(lambda sftp: sftp.rename(made, path))

    def make_folders(self, path: str) -> None:
        """And those above; of this connection, once."""
        if path not in self._made:
            self._do(lambda sftp: sftp.makedirs(path, exist_ok=True))
            self._made.add(path)

    def remove(self, path: str) -> None:
        """A file, or a link itself."""
        self._do(lambda sftp: sftp.unlink(path))

    def remove_folder(self, path: str) -> None:
        """One that is empty."""
        self._made.clear()
        self._do(lambda sftp: sftp.rmdir(path))

    def close(self) -> None:
        """Whatever state it is in."""
        with suppress(Exception):
            call(self._files, self._files.end)

    def _do(self, act: Callable[[asyncssh.SFTPClient], Any]) -> Any:
        return call(self._files, self._files.on_channel, act)


def connect(login: Login) -> Server:
    """Raises DatastoreErrors: HostKeyError before a password or key is used."""
    options: dict[str, Any] = {
        "port": login.port,
        "username": login.user,
        "known_hosts": ([public_key(login.host_key)], [], []),
        "password": login.password,
        "client_keys": [_private_key(login.private_key)] if login.private_key else None,
        # Nothing of this machine's user: no agent, no configuration, no other way to log in.
        "agent_path": None,
        "config": None,
        "gss_host": None,
        "gss_kex": False,
        "gss_auth": False,
        "disable_trivial_auth": True,
        "connect_timeout": CONNECT_S,
        "login_timeout": CONNECT_S,
        "keepalive_interval": KEEPALIVE_S,
        "keepalive_count_max": 3,
    }
    failed: DatastoreError | None = None
    for address in login.addresses():
        try:
            return _logged_in(login, address, options)
        except LostConnectionError as error:
            failed = failed or error
    assert failed is not None
    raise failed


def _logged_in(login: Login, address: str, options: dict[str, Any]) -> Server:
    try:
        return Server(_FileSystem(address, **options))
    except DatastoreError:
        raise
    except Exception as error:
        raise connecting(error, login.host, login.port) from error


def _private_key(text: str) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(text)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        if isinstance(error, asyncssh.KeyEncryptionError) or "assphrase" in str(error):
            raise RefusedError(
                "the secret private_key has a passphrase; give it without one (ssh-keygen -p on a"
                " copy): it is sealed here"
            ) from None
        raise RefusedError("the secret private_key holds no key that can be read") from error


def _seen(attributes: asyncssh.SFTPAttrs) -> Seen:
    modified = None if attributes.mtime is None else float(attributes.mtime)
    mode = stat.S_IFMT(attributes.permissions or 0)
    if mode == stat.S_IFREG:
        return Seen("file", attributes.size or 0, modified)
    if mode == stat.S_IFDIR:
        return Seen("folder", -1, modified)
    return Seen("link" if mode == stat.S_IFLNK else "other", -1, modified)
