"""What datastores refuse or fail at.

DatastoreError
├── UnreachableError          nobody answers there
│   └── LostConnectionError   somebody did, and trying again may help
├── InsideError               a host in the service's own network, which is not for everybody
├── RefusedError              the credentials, or their rights, are not enough
├── HostKeyError              the server is not known, or not the one that it was
├── UnsafePathError           a name that is no path below a folder, or leads out of it
├── MissingFileError          no file is there
├── ClashError                a file with other content is there
├── FullError                 no space is left
├── DamagedError              a file changed under way, or did not arrive as it was sent
├── StoppedError              the transfer was stopped
└── MissingExtraError         the packages for this kind are not installed

Messages name files by their paths below the datastore or the folder that the user named, and never
hold a secret.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.errors import InferryError


class DatastoreError(InferryError):
    """Base of these; one line that says what to do."""


class UnreachableError(DatastoreError):
    """Nobody answers there."""


class LostConnectionError(UnreachableError):
    """Somebody did answer, and trying again may help."""


class InsideError(DatastoreError):
    """A host that is at no public address, where only such are looked for."""


class RefusedError(DatastoreError):
    """The credentials, or their rights, are not enough."""


class HostKeyError(DatastoreError):
    """The server is not known, or not the one that it was; ``fingerprint`` is of the key that it
    shows now."""

    fingerprint = ""

    def __init__(self, message: str, fingerprint: str = "") -> None:
        super().__init__(message)
        self.fingerprint = fingerprint


class UnsafePathError(DatastoreError):
    """A name that is no path below a folder, or leads out of it."""


class MissingFileError(DatastoreError):
    """No file is there."""


class ClashError(DatastoreError):
    """Files with other content are there, at ``paths``."""

    paths: tuple[str, ...] = ()

    def __init__(self, message: str, paths: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.paths = tuple(paths)


class FullError(DatastoreError):
    """No space is left."""


class DamagedError(DatastoreError):
    """A file changed under way, or did not arrive as it was sent."""


class StoppedError(DatastoreError):
    """The transfer was stopped."""


class MissingExtraError(DatastoreError):
    """The packages for this kind of datastore are not installed."""
