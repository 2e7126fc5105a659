"""What an image in another registry is called, by Docker's rules. Pure.

    [host[:port]/]path[:tag][@sha256:...]

``python:3.11-slim`` is ``docker.io/library/python:3.11-slim``; the first part is a host if it has a
dot or a port, or is ``localhost``. Grammar: distribution-spec, "Pulling manifests".
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from registry.errors import InvalidNameError

DOCKER_HUB = "docker.io"
HUB_NAMES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")
HUB_API = "registry-1.docker.io"
DEFAULT_TAG = "latest"
MAX_PATH_CHARS = 255
MAX_CHARS = 512
"""Of a whole reference: path, host, tag and digest at their longest leave room."""

_PATH = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"({_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::([0-9]{{1,5}}))?")
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image of the repository ``path`` at ``host`` (with its port): a tag, a digest or both."""

    host: str
    path: str
    tag: str | None = None
    digest: str | None = None

    @property
    def target(self) -> str:
        """What its manifest is asked by: the digest if there is one."""
        return self.digest or self.tag or DEFAULT_TAG

    @property
    def api_host(self) -> str:
        """Where ``/v2/`` is."""
        return HUB_API if self.host == DOCKER_HUB else self.host

    def __str__(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        digest = "" if self.digest is None else f"@{self.digest}"
        return f"{self.host}/{self.path}{tag}{digest}"


def parse_image_reference(text: str) -> ImageReference:
    """Without a tag and digest the tag is ``latest``. Raises InvalidNameError."""
    if len(text) > MAX_CHARS:
        raise InvalidNameError(
            f"an image reference of {len(text)} characters is too long; at most {MAX_CHARS}"
        )
    _refuse_foreign(text)
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _invalid(text, "the digest must be sha256: and 64 of 0-9 a-f")
    host, rest = _split_host(rest)
    path, colon, tag = rest.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _invalid(text, "a tag is 1 to 128 of letters, digits, '_', '.' and '-'")
    host = _check_host(text, host)
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    _check_path(text, path)
    return ImageReference(
        host, path, tag if colon else None if at else DEFAULT_TAG, digest if at else None
    )


def check_digest(text: object, what: str) -> str:
    """``text`` itself, a sha256 digest. Raises InvalidNameError."""
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise InvalidNameError(f"{what} {_shown(text)} is no sha256 digest")
    return text


def is_digest(text: object) -> bool:
    """Whether it is a sha256 digest."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def is_path(text: str) -> bool:
    """Whether it is the name of a repository."""
    return len(text) <= MAX_PATH_CHARS and _PATH.fullmatch(text) is not None


def _refuse_foreign(text: str) -> None:
    """What a person may take for a reference."""
    if not text:
        raise InvalidNameError("the image reference is empty")
    head = text.partition("://")[2].partition("/")[0] or text.partition("/")[0]
    if "@" in head and "/" in text and not _DIGEST.fullmatch(head.partition("@")[2]):
        # Not shown: it may hold a password.
        raise InvalidNameError(
            "an image reference holds no user or password; use docker login, or"
            " $INFERRY_REGISTRY_USER and $INFERRY_REGISTRY_PASSWORD"
        )
    if "://" in text:
        raise _invalid(text, "leave out the scheme, as in registry.example:5000/name:tag")
    if any(not char.isascii() or not char.isprintable() or char == " " for char in text):
        raise _invalid(text, "it has a space, control character or other character not allowed")


def _split_host(text: str) -> tuple[str, str]:
    head, slash, rest = text.partition("/")
    is_host = _is_host(head) or head != head.lower()
    return (head, rest) if slash and is_host else (DOCKER_HUB, text)


def _is_host(text: str) -> bool:
    return "." in text or ":" in text or text == "localhost"


def _check_host(text: str, host: str) -> str:
    found = _HOST.fullmatch(host)
    if found is None or len(host) > MAX_PATH_CHARS:
        raise _invalid(text, f"{_shown(host)} is no host name")
    name, port = found[1], found[2]
    if name.startswith("["):
        try:
            ipaddress.IPv6Address(name[1:-1])
        except ValueError:
            raise _invalid(text, f"{_shown(name)} is no IPv6 address") from None
    if port is not None and not 1 <= int(port) <= 65535:
        raise _invalid(text, f"{port} is no port")
    lower = host.lower()
    if not _is_host(lower):
        return host  # a name such as HOST is one by its capitals only
    return DOCKER_HUB if lower in HUB_NAMES else lower


def _check_path(text: str, path: str) -> None:
    if is_path(path) and not _IMAGE_ID.fullmatch(path.removeprefix("library/")):
        return
    if path != path.lower() and is_path(path.lower()):
        raise _invalid(text, f"a repository's name is in lower case, as in {path.lower()}")
    if len(path) > MAX_PATH_CHARS:
        raise _invalid(text, f"a repository's name has at most {MAX_PATH_CHARS} characters")
    if _IMAGE_ID.fullmatch(path.removeprefix("library/")):
        raise _invalid(text, "an image's id is no name; write name@sha256:...")
    raise _invalid(
        text,
        "a repository's name has parts of a-z and 0-9, joined by '.', '_' or '-', between slashes",
    )


def _invalid(text: str, why: str) -> InvalidNameError:
    return InvalidNameError(f"image reference {_shown(text)}: {why}")


def _shown(text: object) -> str:
    shown = ascii(text)
    return shown if len(shown) <= 80 else f"{shown[:77]}...'"
