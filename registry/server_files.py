"""The scoring server as files of an image: the package ``scoring`` as it is installed here.

registry/ does not import it; the two meet on disk.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

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


def server_entries(folder: Path) -> list[Entry]:
    """All files of the server below SERVER_ROOT; a few hundred kilobytes, read now."""
    return [
        bytes_entry(f"{SERVER_ROOT}/scoring/{path.relative_to(folder).as_posix()}", data)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not LEFT_OUT.intersection(path.parts)
        for data in [path.read_bytes()]
    ]
