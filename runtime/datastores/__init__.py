"""Datastores: named places for files, and what comes to and from them.

with Datastore.get_default(workspace) as datastore:
    datastore.upload("data", "digits")
    datastore.download("here", prefix="digits")
"""

from runtime.datastores.datastore import DataPath, Datastore
from runtime.datastores.errors import (
    ClashError,
    DamagedError,
    DatastoreError,
    FullError,
    HostKeyError,
    InsideError,
    LostConnectionError,
    MissingExtraError,
    MissingFileError,
    RefusedError,
    StoppedError,
    UnreachableError,
    UnsafePathError,
)
from runtime.datastores.port import Item
from runtime.datastores.transfer import Report

__all__ = [
    "ClashError",
    "DamagedError",
    "DataPath",
    "Datastore",
    "DatastoreError",
    "FullError",
    "HostKeyError",
    "InsideError",
    "Item",
    "LostConnectionError",
    "MissingExtraError",
    "MissingFileError",
    "RefusedError",
    "Report",
    "StoppedError",
    "UnreachableError",
    "UnsafePathError",
]
