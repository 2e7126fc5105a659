"""Files of a script to a service: each is sent once, and goes on where it was cut.

named = uploaded(service, {"outputs/model.onnx": file})     # [{"path": ..., "digest": ...}]
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from registry.blobs import file_chunks
from registry.errors import InvalidSourceError, WorkspaceBusyError
from registry.tree import SourceFile, shown
from runtime.errors import InferryError, ServiceError
from runtime.tracking.service import Service

ASKED_AT_ONCE = 1000
TRIES = 5
"""Without a byte more."""
Named = list[dict[str, Any]]


def uploaded(service: Service, files: Mapping[str, SourceFile]) -> Named:
    """Their bytes are with the service when this returns. Raises ServiceError, InvalidSourceError
    for a file that changes meanwhile, StoreFullError."""
    digests = {path: _digest(file) for path, file in files.items()}
    known: set[str] = set()
    wanted = list(dict.fromkeys(digests.values()))
    for start in range(0, len(wanted), ASKED_AT_ONCE):
        some = wanted[start : start + ASKED_AT_ONCE]
        known.update(service.ask("POST", "/uploads", {"digests": some}))
    for path, file in files.items():
        if digests[path] not in known:
            _send(service, file, digests[path])
            known.add(digests[path])
    return [{"path": path, "digest": digest} for path, digest in digests.items()]


def _send(service: Service, file: SourceFile, digest: str) -> None:
    tries, before = 0, -1
    while True:
        offset = int(service.ask("GET", f"/uploads/{digest}", {})["offset"])
        tries, before = (tries + 1 if offset <= before else 0), max(offset, before)
        try:
            given = {"size": file.size_bytes, "offset": offset}
            size = file.size_bytes - offset
            if service.send(f"/uploads/{digest}", given, _rest(file, offset), size)["is_whole"]:
                return
        except (ServiceError, WorkspaceBusyError) as error:
            if tries >= TRIES or not getattr(error, "is_passing", True):
                raise
        except InferryError:
            if tries >= TRIES:
                raise InvalidSourceError(
                    f"'{shown(file.path)}' changed while it was sent; try again"
                ) from None
        if tries >= TRIES:
            raise ServiceError(f"the service does not take '{shown(file.path)}'", is_passing=True)


def _digest(file: SourceFile) -> str:
    hashed = hashlib.sha256()
    with file.open() as opened:
        for chunk in file_chunks(opened):
            hashed.update(chunk)
    return f"sha256:{hashed.hexdigest()}"


def _rest(file: SourceFile, offset: int) -> Iterator[bytes]:
    """What follows ``offset``. All of the file is read: it must be the one that was hashed."""
    position = 0
    with file.open() as opened:
        for chunk in file_chunks(opened):
            position += len(chunk)
            if position > offset:
                yield chunk[max(0, len(chunk) - (position - offset)) :]
