"""Where things lie in a workspace; the only place that makes these paths.

<workspace>/
  workspace.db             SQLite: records
  leases/<id>              one file for each operation under way, locked by its process
  activities/<id>.log      what an activity said, line by line
  keys/                    the workspace's signing key (0600) and its public half
  datastore/               the files of the datastore "workspace"
  wheels/<sha256>/<name>   downloaded wheels, as their index serves them
  unpacked/<hex>/          layers as folders, for proofs; the newest few
  store/                   an OCI image layout (image-spec, image-layout.md)
    oci-layout, index.json
    blobs/sha256/<hex>     every stored file
    uploads/<random>       files being written
    lock                   shared while a blob is published, exclusive while purge sweeps
"""

from __future__ import annotations

import re
from pathlib import Path

DEFAULT_FOLDER = ".inferry"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class WorkspacePaths:
    """The paths under one workspace's ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "workspace.db"
        self.leases = root / "leases"
        self.activities = root / "activities"
        self.runs = root / "runs"
        self.keys = root / "keys"
        self.datastore = root / "datastore"
        self.wheels = root / "wheels"
        self.unpacked = root / "unpacked"
        self.store = root / "store"
        self.blobs = self.store / "blobs" / "sha256"
        self.uploads = self.store / "uploads"
        self.store_lock = self.store / "lock"
        self.layout_file = self.store / "oci-layout"
        self.index_file = self.store / "index.json"

    def blob(self, digest: str) -> Path:
        """Where the blob ``sha256:<hex>`` lies."""
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"not a sha256 digest: {digest!r}")
        return self.blobs / digest.removeprefix("sha256:")
