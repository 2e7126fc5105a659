"""What can go wrong in the registry.

RegistryError
+-- NoWorkspaceError      the folder is no workspace
+-- WorkspaceDamagedError the database cannot be read or is of a newer version
+-- WorkspaceBusyError    another process held the database for too long
+-- StoreFullError        no space is left for a file
+-- DamagedBlobError      a stored file no longer has the bytes of its digest
+-- InvalidNameError      a name, tag or reference that is not allowed
|   +-- NameTakenError    a name that something else has
+-- InvalidSourceError    a file or folder that cannot be registered
|   +-- InvalidOnnxError  an .onnx file that cannot be read or points outside its folder
|   +-- RequirementsError a requirements or conda file that cannot be taken, or not be resolved
|   +-- BaseImageError    a base image that cannot be read or does not fit
+-- NotFoundError         no such model or image
+-- InUseError            what should be deleted is used; ``users`` says by whom
+-- ImmutableError        a change to what cannot change
+-- ImageFailedError      the image was not made, or is not complete
|   +-- ProofError        it was made, but does not score
+-- CancelledError        someone cancelled the activity
+-- RemoteError           another registry refused, failed or lied; ``status`` is its HTTP status
+-- TrustError            a signature or key that is missing, damaged or of someone else
+-- BackupError           a backup that is damaged, of a newer Inferry, or not there
+-- EngineError           the container engine is not there or failed
+-- TargetError           the place to write to cannot be written
|   +-- TargetExistsError what should be written is there already
"""

from __future__ import annotations

from collections.abc import Sequence


class RegistryError(Exception):
    """Base of all; ``str()`` is one clear line that says what to do."""


class NoWorkspaceError(RegistryError):
    """The folder is no workspace."""


class WorkspaceDamagedError(RegistryError):
    """The database cannot be read or is of a newer version."""


class WorkspaceBusyError(RegistryError):
    """Another process held the database for too long."""


class StoreFullError(RegistryError):
    """No space is left for a file."""


class DamagedBlobError(RegistryError):
    """The stored file ``digest`` no longer has the bytes of its digest, or is gone."""

    def __init__(self, digest: str, what: str = "is damaged") -> None:
        super().__init__(
            f"the stored file {digest} {what}; register its model, or make its image, again"
        )
        self.digest = digest


class InvalidNameError(RegistryError):
    """A name, tag or reference that is not allowed."""


class NameTakenError(InvalidNameError):
    """A name that something else has."""


class InvalidSourceError(RegistryError):
    """A file or folder that cannot be registered."""


class InvalidOnnxError(InvalidSourceError):
    """An .onnx file that cannot be read or points outside its folder."""


class RequirementsError(InvalidSourceError):
    """A requirements or conda file that cannot be taken, or not be resolved."""


class BaseImageError(InvalidSourceError):
    """A base image that cannot be read or does not fit."""


class NotFoundError(RegistryError):
    """No such model or image."""


class InUseError(RegistryError):
    """``what`` is used by ``users``, each an image ``name:version`` or another ``kind`` of user,
    and cannot be deleted."""

    def __init__(self, what: str, users: Sequence[str], kind: str = "image") -> None:
        super().__init__(
            f"{what} is used by {', '.join(f'{kind} {user}' for user in users)};"
            " delete what uses it first"
        )
        self.what = what
        self.users = tuple(users)


class ImmutableError(RegistryError):
    """A change to what cannot change."""


class ImageFailedError(RegistryError):
    """The image was not made, or is not complete."""


class ProofError(ImageFailedError):
    """The image was made, but does not score; ``log`` is what it printed."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class CancelledError(RegistryError):
    """Someone cancelled the activity."""


class RemoteError(RegistryError):
    """Another registry refused, failed or lied; ``status`` is its HTTP status, if it answered."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TrustError(RegistryError):
    """A signature or key that is missing, damaged or of someone else."""


class BackupError(RegistryError):
    """A backup that is damaged, of a newer Inferry, or not there."""


class EngineError(RegistryError):
    """The container engine is not there or failed."""


class TargetError(RegistryError):
    """The place to write to cannot be written."""


class TargetExistsError(TargetError):
    """What should be written is there already."""
