"""The paths below ``/v2/``: parsed here, made here. Pure.

Nothing of a path ever names a file: what is not a repository, tag, digest or upload by its grammar
is refused before anything looks for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import quote


class Kind(Enum):
    """What a path means."""

    HEALTH = auto()
    BASE = auto()
    CATALOG = auto()
    TAGS = auto()
    REFERRERS = auto()
    MANIFEST = auto()
    BLOB = auto()
    UPLOADS = auto()
    UPLOAD = auto()


METHODS = {
    Kind.HEALTH: ("GET", "HEAD"),
    Kind.BASE: ("GET", "HEAD"),
    Kind.CATALOG: ("GET", "HEAD"),
    Kind.TAGS: ("GET", "HEAD"),
    Kind.REFERRERS: ("GET", "HEAD"),
    Kind.MANIFEST: ("GET", "HEAD", "PUT", "DELETE"),
    Kind.BLOB: ("GET", "HEAD", "DELETE"),
    Kind.UPLOADS: ("POST",),
    Kind.UPLOAD: ("GET", "HEAD", "PATCH", "PUT", "DELETE"),
}
_FIXED = {
    "/healthz": Kind.HEALTH,
    "/v2": Kind.BASE,
    "/v2/": Kind.BASE,
    "/v2/_catalog": Kind.CATALOG,
}
_PATTERNS = (
    (Kind.UPLOADS, re.compile(r"/v2/(.+)/blobs/uploads/?()", re.DOTALL)),
    (Kind.UPLOAD, re.compile(r"/v2/(.+)/blobs/uploads/([^/]+)", re.DOTALL)),
    (Kind.BLOB, re.compile(r"/v2/(.+)/blobs/([^/]+)", re.DOTALL)),
    (Kind.MANIFEST, re.compile(r"/v2/(.+)/manifests/([^/]+)", re.DOTALL)),
    (Kind.TAGS, re.compile(r"/v2/(.+)/tags/list()", re.DOTALL)),
    (Kind.REFERRERS, re.compile(r"/v2/(.+)/referrers/([^/]+)", re.DOTALL)),
)


@dataclass(frozen=True, slots=True)
class Route:
    """A parsed path: ``repository`` and ``reference`` as the client wrote them, unchecked."""

    kind: Kind
    repository: str = ""
    reference: str = ""


def parse_path(path: str) -> Route | None:
    """What the path, decoded once, means; None when it means nothing."""
    if path in _FIXED:
        return Route(_FIXED[path])
    for kind, pattern in _PATTERNS:
        if (match := pattern.fullmatch(path)) is not None:
            return Route(kind, match[1], match[2])
    return None


def blob_path(repository: str, digest: str) -> str:
    """Where a blob is pulled."""
    return f"/v2/{repository}/blobs/{digest}"


def manifest_path(repository: str, reference: str) -> str:
    """Where a manifest is pulled."""
    return f"/v2/{repository}/manifests/{reference}"


def upload_path(repository: str, upload: str) -> str:
    """Where an upload goes on."""
    return f"/v2/{repository}/blobs/uploads/{upload}"


def next_link(path: str, n: int | None, last: str, extra: str | None = None) -> str:
    """A Link header to the following page of ``path``; ``extra`` is the artifactType asked for."""
    query = f"last={quote(last, safe='')}"
    if n is not None:
        query = f"n={n}&{query}"
    if extra is not None:
        query += f"&artifactType={quote(extra, safe='')}"
    return f'<{path}?{query}>; rel="next"'
