"""What errors of asyncssh and sshfs mean."""

from __future__ import annotations

from collections.abc import Callable

import asyncssh

from runtime.datastores.errors import (
    ClashError,
    DatastoreError,
    FullError,
    HostKeyError,
    LostConnectionError,
    MissingFileError,
    RefusedError,
    UnreachableError,
)


def changed_key(host: str, fingerprint: str) -> HostKeyError:
    """``fingerprint``: of the key that the host shows now, where that is known."""
    now = f" (it shows {fingerprint})" if fingerprint else ""
    return HostKeyError(
        f"the host {host} does not show the key that it is known by{now}; somebody may be in"
        " between. If its owner says that the key was changed, attach it anew with the new one",
        fingerprint,
    )


def connecting(error: Exception, host: str, port: int) -> DatastoreError:
    """Of an error while a connection was made."""
    if isinstance(error, DatastoreError):
        return error
    if isinstance(error, asyncssh.HostKeyNotVerifiable | asyncssh.KeyExchangeFailed):
        return changed_key(host, "")
    if isinstance(error, PermissionError | asyncssh.PermissionDenied | asyncssh.IllegalUserName):
        return RefusedError(f"{host} refused the user, or the password or key")
    if isinstance(error, ConnectionRefusedError):
        return LostConnectionError(f"nobody answers at {host}:{port}")
    if isinstance(error, asyncssh.DisconnectError):
        return LostConnectionError(f"{host}:{port} ended the connection")
    if isinstance(error, OSError | TimeoutError):
        why = getattr(error, "strerror", None) or "no answer in time"
        return LostConnectionError(f"{host}:{port} cannot be reached: {why}")
    return UnreachableError(f"{host}:{port} failed: {type(error).__name__}")


_MEANINGS: tuple[tuple[tuple[type[BaseException], ...], Callable[[str], DatastoreError]], ...] = (
    (
        (FileNotFoundError, asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath),
        lambda path: MissingFileError(f"there is no {path} on the server"),
    ),
    (
        (PermissionError, asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect),
        lambda path: RefusedError(f"the server refuses {path}: no permission"),
    ),
    (
        (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded),
        lambda path: FullError(f"no space is left on the server for {path}"),
    ),
    (
        (
            *(FileExistsError, asyncssh.SFTPFileAlreadyExists, asyncssh.SFTPFileIsADirectory),
            *(asyncssh.SFTPNotADirectory, NotADirectoryError),
        ),
        lambda path: ClashError(f"a folder or file is in the way of {path} on the server", [path]),
    ),
    (
        (asyncssh.SFTPOpUnsupported,),
        lambda path: DatastoreError(f"the server cannot replace {path} at once (posix-rename)"),
    ),
    (
        (
            *(asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.DisconnectError),
            *(asyncssh.ChannelOpenError, ConnectionError, TimeoutError, EOFError),
        ),
        lambda path: LostConnectionError(f"the connection was lost at {path}"),
    ),
    (
        (asyncssh.SFTPFailure,),
        lambda path: DatastoreError(
            f"the server could not do it with {path}, and OpenSSH does not say why: its disk may be"
            " full, or a folder be in the way"
        ),
    ),
)


def meaning(error: BaseException, path: str) -> DatastoreError:
    """Of an error at ``path``, as it is to be shown."""
    for kinds, make in _MEANINGS:
        if isinstance(error, kinds):
            return make(path)
    return DatastoreError(f"{path} failed on the server: {type(error).__name__}")
