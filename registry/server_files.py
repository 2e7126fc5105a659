"""The scoring server as files of an image: the package ``scoring`` as it is installed here.

registry/ does not import it; the two meet on disk.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from registry import bytecode
from registry.errors import ImageFailedError
from registry.image_tree import SERVER_ROOT
from registry.layers import Entry, bytes_entry

LEFT_OUT = frozenset({"__pycache__"})


def server_folder() -> Path:
    """Where the package lies. Raises ImageFailedError when it is not installed."""
    spec = importlib.util.find_spec("scoring")  # of a top-level package: runs none of its code
    if spec is None or spec.origin is None:
        raise ImageFailedError(
            "the scoring server is not installed here, so it cannot be packaged;"
            " install inferry[serve]"
        )
    return Path(spec.origin).parent


def server_imports(folder: Path) -> set[str]:
    """The modules that the server imports, sooner or later."""
    return {name for path in folder.rglob("*.py") for name in bytecode.imports(path.read_bytes())}


def server_digest(folder: Path) -> str:
    """Changes when a file of the server does."""
    paths = sorted(path for path in folder.rglob("*") if _is_packed(path))
    hashed = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        hashed.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return hashed.hexdigest()


def server_entries(folder: Path, python: tuple[int, int]) -> list[Entry]:
    """All files of the server below SERVER_ROOT, compiled for ``python`` if that can be done here;
    a megabyte, read now."""
    entries = [
        bytes_entry(f"{SERVER_ROOT}/scoring/{path.relative_to(folder).as_posix()}", data)
        for path in sorted(folder.rglob("*"))
        if _is_packed(path)
        for data in [path.read_bytes()]
    ]
    if not bytecode.can_compile(python):
        return entries
    done = bytecode.compiled(
        entries, SERVER_ROOT, imported=frozenset(), whole=frozenset({"scoring"})
    )
    return entries + done


def _is_packed(path: Path) -> bool:
    return path.is_file() and not LEFT_OUT.intersection(path.parts)
