"""What the registry refuses, in the words of the distribution specification.

RegistryError
+-- DistributionError     ``code`` is the specification's, or ours where it has none
    +-- UploadRangeError  a chunk that does not begin where the upload ends
    +-- UploadBusyError   another request writes to the upload
    +-- TooLargeError     more bytes than are taken
"""

from __future__ import annotations

from enum import StrEnum

from registry.errors import RegistryError


class Code(StrEnum):
    """Error codes; the last four are not in the specification."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    BLOB_UPLOAD_INVALID = "BLOB_UPLOAD_INVALID"
    BLOB_UPLOAD_UNKNOWN = "BLOB_UPLOAD_UNKNOWN"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_BLOB_UNKNOWN = "MANIFEST_BLOB_UNKNOWN"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    SIZE_INVALID = "SIZE_INVALID"
    UNAUTHORIZED = "UNAUTHORIZED"
    DENIED = "DENIED"
    UNSUPPORTED = "UNSUPPORTED"
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    TAG_INVALID = "TAG_INVALID"
    PAGINATION_NUMBER_INVALID = "PAGINATION_NUMBER_INVALID"
    BLOB_DAMAGED = "BLOB_DAMAGED"
    UNKNOWN = "UNKNOWN"


class DistributionError(RegistryError):
    """The request is refused; ``detail`` names what it is about."""

    def __init__(self, code: Code, message: str, detail: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail


class UploadRangeError(DistributionError):
    """The chunk does not begin at ``offset``, where the upload ends."""

    def __init__(self, offset: int, given: int) -> None:
        super().__init__(
            Code.BLOB_UPLOAD_INVALID,
            f"the upload has {offset} bytes; a chunk that begins at {given} does not follow",
        )
        self.offset = offset


class UploadBusyError(DistributionError):
    """Another request writes to the upload."""

    def __init__(self, upload: str) -> None:
        super().__init__(
            Code.BLOB_UPLOAD_INVALID, "another request writes to the upload; try again", upload
        )


class TooLargeError(DistributionError):
    """More than ``limit`` bytes."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(Code.SIZE_INVALID, f"{what} may have {limit} bytes at most")
