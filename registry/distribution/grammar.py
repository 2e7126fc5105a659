"""Names, tags, digests and ranges as the distribution specification writes them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry.distribution.errors import Code, DistributionError

MAX_REPOSITORY_CHARS = 255
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_OTHER_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[A-Za-z0-9=_-]{1,256}")
_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
_VERSION = re.compile(r"[0-9]+")
_UPLOAD = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class ChunkRange:
    """``first-last``, both inclusive."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many bytes that is."""
        return self.last - self.first + 1


def is_repository(text: str) -> bool:
    """Whether a client may say it; an image of another name is not served."""
    return len(text) <= MAX_REPOSITORY_CHARS and _REPOSITORY.fullmatch(text) is not None


def check_repository(text: str) -> str:
    """``text`` itself. Raises NAME_INVALID."""
    if not is_repository(text):
        raise DistributionError(
            Code.NAME_INVALID,
            "a repository has parts of lower-case letters and digits, joined by . _ __ or -,"
            f" with / between them, and at most {MAX_REPOSITORY_CHARS} characters",
        )
    return text


def is_tag(text: str) -> bool:
    """Whether it can be a tag."""
    return _TAG.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Whether it is a sha256 digest."""
    return _DIGEST.fullmatch(text) is not None


def check_digest(text: str) -> str:
    """``text`` itself. Raises DIGEST_INVALID, also for other algorithms."""
    if is_digest(text):
        return text
    if _OTHER_DIGEST.fullmatch(text) and not text.startswith("sha256:"):
        raise DistributionError(
            Code.DIGEST_INVALID, f"only sha256 digests are served, not {text.partition(':')[0]}"
        )
    raise DistributionError(
        Code.DIGEST_INVALID, "a digest is sha256: and 64 lower-case hexadecimal digits"
    )


def check_upload(text: str) -> str:
    """``text`` itself. Raises BLOB_UPLOAD_UNKNOWN: no upload was ever called that."""
    if _UPLOAD.fullmatch(text) is None:
        raise DistributionError(Code.BLOB_UPLOAD_UNKNOWN, "there is no such upload")
    return text


def is_version(tag: str) -> bool:
    """Whether the tag belongs to the versions of an image of that name."""
    return tag == "latest" or _VERSION.fullmatch(tag) is not None


def parse_chunk_range(text: str) -> ChunkRange:
    """A Content-Range of a chunk. Raises BLOB_UPLOAD_INVALID."""
    match = _RANGE.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        raise DistributionError(
            Code.BLOB_UPLOAD_INVALID, "a chunk's Content-Range is <first byte>-<last byte>"
        )
    return ChunkRange(int(match[1]), int(match[2]))
