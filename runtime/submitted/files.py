"""Which files a script has left, and how one is opened."""

from __future__ import annotations

import os
import stat

from runtime.submitted.layout import CODE, OUTPUTS, Folder

MAX_OUTPUTS = 100_000


def open_below(root: str, path: str) -> int:
    """A plain file below ``root``, opened part by part, so that no link leads out. Raises
    OSError."""
    parts = path.split("/")
    if ".." in parts or "." in parts or "" in parts:
        raise OSError(0, "it is no path")
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        handle = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "it is no plain file")
    return handle


def list_outputs(folder: Folder) -> dict[str, list[object]]:
    """``files``: path below code/outputs and size; ``others``: what is no plain file, or has a name
    that is no text, in words."""
    files: list[object] = []
    others: list[object] = []
    top = folder.at(CODE, OUTPUTS)
    for above, folders, names in os.walk(top):
        links = [name for name in folders if os.path.islink(os.path.join(above, name))]
        for name in names + links:
            path = os.path.relpath(os.path.join(above, name), top)
            size = _size(os.path.join(above, name), path)
            if size is None:
                others.append(ascii(path))
            else:
                files.append([path, size])
            if len(files) + len(others) > MAX_OUTPUTS:
                return {"files": files, "others": [*others, f"more than {MAX_OUTPUTS} files"]}
    return {"files": files, "others": others}


def _size(full: str, path: str) -> int | None:
    try:
        path.encode()
        status = os.lstat(full)
    except (OSError, UnicodeEncodeError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
