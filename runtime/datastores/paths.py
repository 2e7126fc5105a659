"""Which names a file in a datastore may have, and how names are shown. Pure.

One rule for every kind, in both directions, so that what was uploaded can be downloaded: parts
joined by ``/``, none empty, ``.`` or ``..``, no control characters, text that UTF-8 can say. It is
applied to what a server lists, too: a name from outside never becomes a place on this machine
before it was looked at here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from runtime.datastores.errors import UnsafePathError

MAX_PATH_BYTES = 1024
"""S3 allows no more."""
MAX_PART_BYTES = 255
"""No common file system allows more."""
MAX_PARTS = 100
UNFINISHED = ".inferry-part-"
"""How a file begins that is being written; it is never listed, uploaded or downloaded."""
NAMED = 5


def check_path(path: str) -> str:
    """``path`` itself, of a file. Raises UnsafePathError."""
    complaint = _complaint(path)
    if complaint:
        raise UnsafePathError(f"the path {shown(path)} {complaint}")
    return path


def check_part(name: str) -> str:
    """``name`` itself, one part of a path, as a server lists it. Raises UnsafePathError."""
    if "/" in name:
        raise UnsafePathError(f"the path {shown(name)} is no name of one file")
    return check_path(name)


def check_prefix(path: str) -> str:
    """A path of a file or folder without its last slash, or nothing, which means all. Raises
    UnsafePathError."""
    trimmed = path.removesuffix("/") if path != "/" else path
    return check_path(trimmed) if trimmed not in ("", ".") else ""


def join(*parts: str) -> str:
    """With slashes; those that are empty fall away."""
    return "/".join(part for part in parts if part)


def parts_below(prefix: str, path: str) -> tuple[str, ...]:
    """The parts of ``path`` below the folder ``prefix``; none of the folder itself, nor of no path
    at all. Raises UnsafePathError."""
    if path in ("", prefix):
        return ()
    if prefix and not path.startswith(f"{prefix}/"):
        raise UnsafePathError(f"the path {shown(path)} is not below {shown(prefix)}")
    return tuple(check_path(path)[len(prefix) + 1 if prefix else 0 :].split("/"))


def is_unfinished(path: str) -> bool:
    """Whether it is something that is, or was, being written."""
    return path.rpartition("/")[2].startswith(UNFINISHED)


def shown(path: str) -> str:
    """For a message: quoted, cut, and with nothing that a terminal would act on."""
    text = ascii(path)
    return text if len(text) <= 120 else f"{text[:117]}...'"


def some(paths: Iterable[str]) -> str:
    """The first few, and how many more."""
    listed = list(paths)
    text = ", ".join(shown(path) for path in listed[:NAMED])
    return text if len(listed) <= NAMED else f"{text} and {len(listed) - NAMED} more"


def _complaint(path: str) -> str | None:
    if not path:
        return "is empty"
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "is no text in UTF-8"
    if size > MAX_PATH_BYTES:
        return f"has {size} bytes, more than {MAX_PATH_BYTES}"
    if path.startswith("/"):
        return "begins with a slash; paths are below the datastore or folder"
    if any(unicodedata.category(char) == "Cc" for char in path):
        return "has a control character"
    parts = path.split("/")
    if len(parts) > MAX_PARTS:
        return f"has {len(parts)} parts, more than {MAX_PARTS}"
    for part in parts:
        if part in ("", ".", ".."):
            return f"has the part {part!r}, and may not"
        if len(part.encode()) > MAX_PART_BYTES:
            return f"has a part of more than {MAX_PART_BYTES} bytes"
    return None
